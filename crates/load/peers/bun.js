// Bun's own WebSocket server: whatever a member says is published to all, the sender included.
const server = Bun.serve({
  port: 0,
  hostname: "127.0.0.1",
  fetch(request, server) {
    return server.upgrade(request) ? undefined : new Response("a WebSocket is wanted", { status: 426 });
  },
  websocket: {
    perMessageDeflate: false,
    backpressureLimit: 16 * 1024 * 1024,
    open(socket) {
      socket.subscribe("room");
    },
    message(_socket, message) {
      server.publish("room", message);
    },
  },
});
console.log(`ready 127.0.0.1:${server.port}`);
