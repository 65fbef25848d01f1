#!/usr/bin/env node
// The launcher. It is plain JavaScript that old versions of Node can run, because it reports the required version. Plinth runs
// its TypeScript directly (in a checkout) or compiled (below node_modules, where Node does not strip types); both need Node 24.
import { spawn } from "node:child_process";
import { existsSync, realpathSync } from "node:fs";
import * as nodeModule from "node:module";
import { constants } from "node:os";
import { dirname, join, sep } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const NEEDED_MAJOR = 24;
const here = dirname(fileURLToPath(import.meta.url));
const root = join(here, "..", "..");

if (Number(process.versions.node.split(".")[0]) >= NEEDED_MAJOR) {
  // Compiled modules are kept inside the package: not in a folder for temporary files, where another user could place code that
  // this process would run. If the folder cannot be written, Node compiles them at each start.
  nodeModule.enableCompileCache(join(root, "node_modules", ".cache", "plinth"));
  await import(pathToFileURL(entryPoint()).href);
} else {
  const node = bundledNode();
  if (node) runWith(node);
  else {
    console.error(
      `error: Plinth needs Node ${NEEDED_MAJOR} or newer, but this is Node ${process.versions.node}.\n` +
        "hint: Install it from https://nodejs.org. In a clone on Linux, `npm install` installs it in node_modules/.bin.",
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
 * Returns the Node of the optional `node-*` packages: from this package's own .bin, or from the one next to the package. Skips
 * the Node that runs this script, so that a bundled Node that is too old does not start itself again.
 */
function bundledNode() {
  const folders = [join(root, "node_modules", ".bin"), join(root, "..", ".bin")];
  return folders
    .map((folder) => join(folder, "node"))
    .find((file) => existsSync(file) && realpathSync(file) !== realpathSync(process.execPath));
}

/** Runs the same command with another Node, as transparently as possible. */
function runWith(node) {
  const child = spawn(node, [fileURLToPath(import.meta.url), ...process.argv.slice(2)], { stdio: "inherit" });
  // A terminal's Ctrl-C reaches the child directly, but `kill` reaches only this process. Forward it and exit with the child.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
  child.on("error", (error) => {
    console.error(`error: ${node} cannot be started: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => {
    process.exitCode = code ?? 128 + (constants.signals[signal] ?? 0);
  });
}
