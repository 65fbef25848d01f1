#!/usr/bin/env node
// The launcher. Plain JavaScript that old Nodes can read too, because it is what tells people about the Node they
// need: Plinth runs its TypeScript as it is (in a checkout) or compiled (below node_modules, where Node refuses
// to strip types), and both need Node 24.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import { constants } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED_MAJOR = 24;
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");

if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  await import(pathToFileURL(entryPoint()).href);
} else {
  const node = bundledNode();
  if (node) runWith(node);
  else {
    console.error(
      `error: Plinth needs Node ${NEEDED_MAJOR} or newer, but this is Node ${process.versions.node}.\n` +
        "hint: Install it from https://nodejs.org, or run `npm install` so that npm puts one into node_modules/.bin.",
    );
    process.exitCode = 1;
  }
}

function entryPoint() {
  const source = join(here, "main.ts");
  const inCheckout = existsSync(source) && !here.split(sep).includes("node_modules");
  return inCheckout ? source : join(root, "dist", "src", "cli", "main.js");
}

/**
 * The Node of the optional `node-*` packages: in this package's own .bin, or in the one it was installed next to.
 * The Node that runs this is left out, which also ends the search when that one is too old itself.
 */
function bundledNode() {
  const folders = [join(root, "node_modules", ".bin"), join(root, "..", ".bin")];
  return folders
    .map((folder) => join(folder, "node"))
    .find((file) => existsSync(file) && realpathSync(file) !== realpathSync(process.execPath));
}

/** Starts the same command again with another Node, and is as transparent as it can be about it. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal's Ctrl-C reaches the child anyway, `kill` only this process: pass it on, leave when the child does.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`error: ${node} cannot be started: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
  });
}
