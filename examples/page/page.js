import { SimmerClient } from '/fn/page/client.js';

const byId = (id) => document.getElementById(id);
const log = byId('log');

function say(line) {
  log.textContent += `${line}\n`;
  log.scrollTop = log.scrollHeight;
}

let client;
let clientKey;
/** One client for all calls; another when the key is. */
function simmer() {
  const key = byId('key').value;
  if (client === undefined || key !== clientKey) {
    client?.close();
    client = new SimmerClient(location.origin, key === '' ? {} : { key });
    clientKey = key;
  }
  return client;
}

let stop = new AbortController();

/** Runs it, and says what it came to. */
async function attempt(run) {
  const { signal } = stop;
  const since = performance.now();
  try {
    await run(signal, () => `${(performance.now() - since).toFixed(1)} ms`);
  } catch (error) {
    say(signal.aborted ? 'cancelled' : `${error.code ?? error.name}: ${error.message}`);
  }
}

byId('call').onclick = () =>
  attempt(async (signal, took) => {
    const input = JSON.parse(byId('input').value);
    const output = await simmer().invoke(byId('name').value, input, { signal });
    say(`${JSON.stringify(output)}  (${took()})`);
  });

byId('many').onclick = () =>
  attempt(async (signal, took) => {
    const calls = Array.from({ length: 64 }, (_, i) => simmer().invoke('echo', i, { signal }));
    const outputs = await Promise.all(calls);
    say(`${outputs.length} results, one of ${outputs.at(-1)}  (${took()})`);
  });

byId('stream').onclick = () =>
  attempt(async (signal, took) => {
    const path = '/?count=50&intervalMs=100';
    const decoder = new TextDecoder();
    for await (const piece of simmer().request('stream', path, { signal }).body) {
      say(decoder.decode(piece, { stream: true }).trim().split('\n').at(-1));
    }
    say(`all of it  (${took()})`);
  });

byId('stop').onclick = () => {
  stop.abort();
  stop = new AbortController();
};
