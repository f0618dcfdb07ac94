// TLS clients and a server in one process over loopback, through Node's own TLS. Byte number i of a stream is
// pattern(i, side), side 0 being the client. At the end it tells what each pair of ends has sent:
//
//     node pair.js CERTIFICATE KEY VERSION
//     pair TLSv1.3 sent 1234 and 5678

const fs = require("node:fs");
const tls = require("node:tls");

const [certificate, key, version] = process.argv.slice(2);
const CONNECTIONS = 4;

function bytes(from, length, side) {
  const out = Buffer.alloc(length);
  for (let n = 0; n < length; n++) {
    const i = from + n;
    out[n] = (i * 131 + (i >>> 8) * 17 + (i >>> 16) * 5 + side * 59) & 255;
  }
  return out;
}

const SIZES = [(i) => [40, 16384, 7, 300000 + i], () => [16384, 1, 500000, 40]];
const sum = (sizes) => sizes.reduce((a, b) => a + b, 0);

// Writes pieces of the given sizes, minding back pressure.
async function send(socket, side, sizes) {
  let sent = 0;
  for (const size of sizes) {
    if (!socket.write(bytes(sent, size, side))) await new Promise((go) => socket.once("drain", go));
    sent += size;
  }
  return sent;
}

// Reads as much as the other side will send.
async function receive(socket, side, expected) {
  let got = 0;
  for await (const chunk of socket.iterator({ destroyOnReturn: false })) {
    if (!chunk.equals(bytes(got, chunk.length, side))) throw new Error("the runtime itself gave wrong bytes");
    got += chunk.length;
    if (got >= expected) break;
  }
  return got;
}

async function talk(socket, side, i) {
  const counts = await Promise.all([send(socket, side, SIZES[side](i)), receive(socket, 1 - side, sum(SIZES[1 - side](i)))]);
  return counts;
}

function once(emitter, name) {
  return new Promise((go, stop) => {
    emitter.once(name, go);
    emitter.once("error", stop);
  });
}

async function main() {
  console.log("ready");
  await once(process.stdin, "data");
  process.stdin.destroy();
  const options = { cert: fs.readFileSync(certificate), key: fs.readFileSync(key), minVersion: version, maxVersion: version };
  const ends = [];
  const server = tls.createServer(options, (socket) => ends.push(talk(socket, 1, ends.length)));
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const clients = [];
  const pairs = [];
  for (let i = 0; i < CONNECTIONS; i++) {
    const to = { port: server.address().port, host: "127.0.0.1", servername: "pair.example", rejectUnauthorized: false };
    const socket = tls.connect({ ...to, minVersion: version, maxVersion: version });
    // The first bytes are written from the callback that ends the handshake, as HTTP clients do.
    pairs.push(once(socket, "secureConnect").then(() => talk(socket, 0, i)));
    clients.push(socket);
    await once(socket, "secureConnect");
  }
  for (const [sent, got] of await Promise.all(pairs)) console.log(`pair ${version} sent ${sent} and ${got}`);
  await Promise.all(ends);
  for (const socket of clients) socket.end();
  server.close();
}

main().catch((error) => {
  console.error(error);
  process.exit(1);
});
