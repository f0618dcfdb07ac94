// Node's own WebSocket: websocket.mjs; wants OPENAI_BASE_URL and NODE_EXTRA_CA_CERTS.
const url = `${process.env.OPENAI_BASE_URL.replace(/^http/, "ws")}/responses`;

function open() {
  const socket = new WebSocket(url);
  return new Promise((resolve, reject) => {
    socket.onopen = () => resolve(socket);
    socket.onerror = (event) => reject(event.error ?? new Error("no connection"));
  });
}

function ask(socket, directive) {
  const done = new Promise((resolve, reject) => {
    socket.onclose = () => reject(new Error("closed"));
    socket.onmessage = ({ data }) => {
      const { type } = JSON.parse(data);
      if (type === "error" || type === "response.completed") resolve(type);
    };
  });
  socket.send(JSON.stringify({ type: "response.create", model: "gpt-5", input: `mock: ${JSON.stringify(directive)} hello` }));
  return done;
}

const socket = await open();
await ask(socket, { tokens: 30, interval_us: 1000, ttft_us: 10000 });
await ask(socket, { tokens: 300 });
await ask(socket, { status: 429 });
socket.onclose = null;
socket.close();
await Promise.all(
  Array.from({ length: 10 }, async (_, n) => {
    const own = await open();
    await ask(own, { tokens: 20 + n, interval_us: 500 });
    own.onclose = null;
    own.close();
  }),
);
console.log("done");
