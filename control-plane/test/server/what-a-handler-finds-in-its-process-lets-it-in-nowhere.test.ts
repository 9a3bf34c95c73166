import { CLOSE } from '@simmer/protocol/frames';
import t from 'tap';
import { eventually, Simmer } from './simmer.ts';

/**
 * Reads what its process was started with, and says hello with it, as the pod that it is and as another: tells how each
 * was answered. The frames are written by hand: a handler has no library of ours.
 */
const DIALS = `
import { readFileSync } from 'node:fs';
const started = Object.fromEntries(
  readFileSync('/proc/self/environ', 'utf8').split('\\0').filter(Boolean).map((line) => {
    const at = line.indexOf('=');
    return [line.slice(0, at), line.slice(at + 1)];
  }),
);
const text = (value) => {
  const bytes = Buffer.from(value);
  return Buffer.concat([Buffer.from([0xd9, bytes.length]), bytes]);
};
function hello(uid, credential) {
  const fields = [Buffer.from([0x9a, 1, 1]), ...[credential, uid, '', 'boot', 'node', '22'].map(text)];
  return Buffer.concat([...fields, Buffer.from([1, 0])]);
}
function dial(uid, credential) {
  return new Promise((resolve) => {
    const socket = new WebSocket(started.SIMMER_ADDRESS, 'simmer.v1');
    socket.onopen = () => socket.send(hello(uid, credential));
    socket.onmessage = () => resolve('welcomed');
    socket.onclose = ({ code }) => resolve(code);
    socket.onerror = () => {};
  });
}
export default async ({ others = [] }) => {
  const { SIMMER_TOKEN: token, SIMMER_POD_UID: uid } = started;
  return {
    hasToken: token !== undefined,
    ...{ uid, inEnvironment: process.env.SIMMER_TOKEN ?? null },
    answers: await Promise.all([uid, ...others].map((as) => dial(as, token))),
  };
};
`;

t.test('as a generic pod or as another function: it gets nothing', async (t) => {
  const of = (name: string) => ({ name, spec: { source: { inline: DIALS } } });
  const simmer = await Simmer.start(t, [of('one'), of('two')]);
  simmer.write(
    'pool.yaml',
    JSON.stringify({
      ...{ apiVersion: 'simmer.dev/v1alpha1', kind: 'WarmPool', metadata: { name: 'warm' } },
      spec: { minReplicas: 2 },
    }),
  );
  const ids = async (path: string) => (await simmer.pool(path)).pods.map(({ id }) => id);
  await eventually('the pool', async () => (await simmer.pool('warm?kind=WarmPool')).idle === 2);
  const two = (await simmer.invoke('two')).json.output;
  t.equal(two.hasToken, true, 'its launcher cannot take it out of there');
  t.equal(two.inEnvironment, null);
  const others = [...(await ids('two')), ...(await ids('warm?kind=WarmPool'))];
  const { json } = await simmer.invoke('one', { others });
  const { answers } = json.output;
  t.equal(answers.length, others.length + 1);
  for (const answer of answers) t.equal(answer, CLOSE.unauthorized.code);
  t.equal((await simmer.invoke('one')).status, 200, 'its own connection stands');
});
