// A real server for tests: on a port of its own, ended by its own pid.
// `node real-server.mjs COMMAND…` runs a command with TERTULIA_URL set to one.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";

const BINARY = process.env.TERTULIA_BIN ?? new URL("../../../../target/debug/tertulia", import.meta.url).pathname;
const READY_MS = 120_000; // a machine that does three things at once is slow, not wrong

/** A folder that is gone with this process. */
export function folder() {
  const path = mkdtempSync(join(tmpdir(), "tertulia-page-"));
  process.on("exit", () => rmSync(path, { recursive: true, force: true }));
  return path;
}

/** A server with its data in `data`; on `port`, or on one that is free. */
export async function startReal({ data = folder(), port = 0 } = {}) {
  const args = ["serve", "--data", data, "--listen", `127.0.0.1:${port}`, "--admin-listen", "127.0.0.1:0"];
  // What it says on standard error is heard; a page that stays does not hold up its end.
  const env = { ...process.env, TERTULIA_SERVER__LOG_LEVEL: "warn", TERTULIA_SERVER__DRAIN_SECONDS: "1" };
  const server = spawn(BINARY, args, { stdio: ["ignore", "pipe", "inherit"], env });
  const ended = new Promise((resolve, reject) => server.on("exit", (code, signal) => resolve(signal ?? code)).on("error", reject));
  const orphan = () => server.kill("SIGKILL");
  process.once("exit", orphan);
  const late = setTimeout(orphan, READY_MS);
  const [line] = await Promise.race([
    once(createInterface(server.stdout), "line"),
    ended.then((how) => Promise.reject(new Error(`${BINARY} ended before it was ready: ${how}`))),
  ]);
  clearTimeout(late);
  const url = /^tertulia ready (http:\/\/\S+) internal /.exec(line)?.[1];
  if (!url) throw new Error(`the first line of ${BINARY} is ${JSON.stringify(line)}`);
  const end = (signal) => {
    process.removeListener("exit", orphan);
    server.kill(signal);
    return ended;
  };
  return {
    url,
    port: Number(new URL(url).port),
    data,
    /** Ends it in order; tells its exit code. */
    end: () => end("SIGTERM"),
    /** Ends it as a crash does. */
    kill: () => end("SIGKILL"),
  };
}

if (process.argv[1] === new URL(import.meta.url).pathname) {
  const [command, ...args] = process.argv.slice(2);
  const server = await startReal();
  const run = spawn(command, args, { stdio: "inherit", env: { ...process.env, TERTULIA_URL: server.url } });
  const [code] = await once(run, "exit");
  const ended = await server.end();
  if (ended !== 0) console.error(`the server ended with ${ended}`);
  process.exitCode = code || (ended === 0 ? 0 : 1);
}
