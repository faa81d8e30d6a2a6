// Node's `ws`: whatever a member says is sent to all, the sender included.
import { WebSocketServer, WebSocket } from "ws";

const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false });
server.on("listening", () => console.log(`ready 127.0.0.1:${server.address().port}`));
server.on("connection", (socket) => {
  socket._socket.setNoDelay(true);
  socket.on("message", (message) => {
    for (const other of server.clients) {
      if (other.readyState === WebSocket.OPEN) other.send(message, { binary: false });
    }
  });
});
