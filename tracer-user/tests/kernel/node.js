// Both ends of one connection in this process; prints what it carried as target.c does.
const net = require('node:net');
const tls = require('node:tls');

const sizes = [1, 63, 4096, 16384, 16385, 1 << 20];
// Anonymous key exchange: no certificate is needed.
const options = { ciphers: 'ADH-AES256-GCM-SHA384:@SECLEVEL=0', maxVersion: 'TLSv1.2', minVersion: 'TLSv1.2' };
const filled = (length, seed) => {
  const bytes = Buffer.alloc(length);
  for (let at = 0; at < length; at++) bytes[at] = (seed * 131 + at * 7 + (at >> 8)) & 0xff;
  return bytes;
};
const all = Buffer.concat(sizes.map(filled));
const told = (end, way) => sizes.forEach((length, seed) => console.log(`${process.pid} 0 ${end} ${way} ${length} ${seed}`));

const server = tls.createServer({ ...options, dhparam: 'auto' }, (socket) => {
  const got = [];
  socket.on('data', (bytes) => {
    got.push(bytes);
    if (got.reduce((sum, piece) => sum + piece.length, 0) === all.length) {
      if (!Buffer.concat(got).equals(all)) process.exit(3);
      told('s', 'recv');
      socket.end();
    }
  });
});
server.listen(0, '127.0.0.1', () => {
  const { port } = server.address();
  const socket = tls.connect({ ...options, port, host: '127.0.0.1', servername: 'model.example', rejectUnauthorized: false, checkServerIdentity: () => undefined }, async () => {
    // The first is written inside the library's handshake callback, far down the stack.
    const deep = (levels) => (levels ? deep(levels - 1) : socket.write(filled(sizes[0], 0)));
    deep(500);
    for (const [seed, length] of sizes.entries()) {
      if (seed) await new Promise((done) => socket.write(filled(length, seed), done));
    }
    told('c', 'send');
  });
  socket.on('close', () => server.close(() => process.exit(0)));
  socket.resume();
});
