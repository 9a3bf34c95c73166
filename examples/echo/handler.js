/**
 * echo: gives back what it was given.
 *
 *   curl localhost:8080/v1/functions/echo:invoke -d '{"input": {"hello": "world"}}'
 *
 * The smallest handler there is: a default export that takes an input and returns the output.
 */
export default async (input) => input;
