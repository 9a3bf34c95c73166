/**
 * report: sums up orders by product, asynchronously. Whoever wants the report is told when it is there.
 *
 *   make run ARGS='--callback-allow 127.0.0.1'
 *   export CALLBACK_KEY=$(curl -s localhost:8080/v1/functions/report/callback-key | grep -oE '[A-Za-z0-9_-]{43}')
 *   node examples/report/receiver.mjs
 *   curl localhost:8080/v1/functions/report:enqueue -d '{"input": {"orders": [{"product": "tea", "price": 4}]}, "callbackUrl": "http://127.0.0.1:9000/"}'
 *
 * Shows: an asynchronous function, what an attempt logs, and in receiver.mjs what a receiver of callbacks has to do.
 * docs/callbacks.md has the rest.
 */
import { setTimeout as pause } from 'node:timers/promises';

/** As if each took a look into a database. */
const MS_PER_ORDER = 5;

export default async (input, ctx) => {
  const { orders } = input ?? {};
  if (!Array.isArray(orders))
    throw ctx.badInput('send {"orders": [{"product": "...", "price": 1}]}');
  const products = new Map();
  for (const { product, price } of orders) {
    await pause(MS_PER_ORDER, undefined, { signal: ctx.signal });
    const { count, total } = products.get(product) ?? { count: 0, total: 0 };
    products.set(product, { count: count + 1, total: total + price });
  }
  ctx.log.info('report made', { orders: orders.length, attempt: ctx.attempt });
  return { orders: orders.length, products: Object.fromEntries(products) };
};
