import { createRequire, registerHooks } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { JestEnvironment } from "@jest/environment";

const require = createRequire(import.meta.url);
const TESTS = `${pathToFileURL(join(import.meta.dirname, "../..")).href}/`;
/** The example of an application, which src/ loads as well. Its helper for tests is loaded anew, like the others. */
const APPLICATION = `${TESTS}support/application/`;
const APPLICATION_HELPER = `${APPLICATION}shop.ts`;
/** Holds the tests that a file defines. */
const CIRCUS = join(require.resolve("jest-circus"), "../jestAdapterInit.js");
const GLOBALS = "jest-globals:";
const NAMES = ["afterAll", "afterEach", "beforeAll", "beforeEach", "describe", "expect", "jest", "test"];
/** The address of a module of test/ ends with the number of the test file that it is loaded for. */
const NUMBER = /\?file=\d+$/;

let files = 0;

function isShared(url: string): boolean {
  if (!url.startsWith(TESTS) || url.includes("?")) return true;
  return url.startsWith(APPLICATION) && url !== APPLICATION_HELPER;
}

registerHooks({
  resolve(specifier, context, next) {
    const number = NUMBER.exec(context.parentURL ?? "")?.[0];
    if (number === undefined) return next(specifier, context);
    if (specifier === "@jest/globals")
      return { url: `${GLOBALS}${number}`, format: "module", shortCircuit: true };
    const resolved = next(specifier, context);
    return isShared(resolved.url) ? resolved : { ...resolved, url: `${resolved.url}${number}` };
  },
  load(url, context, next) {
    if (!url.startsWith(GLOBALS)) return next(url, context);
    const source = `export const { ${NAMES.join(", ")} } = globalThis[Symbol.for("${GLOBALS}")];`;
    return { format: "module", shortCircuit: true, source };
  },
});

/**
 * The part of jest-runtime that Jest's runner and jest-circus use, with Node's own modules: the tests run what `node` runs. Modules
 * of test/ are loaded anew for each test file, all others once for a worker.
 */
class SharedRuntime {
  readonly #environment: JestEnvironment;

  constructor(_config: unknown, environment: JestEnvironment) {
    this.#environment = environment;
  }

  requireInternalModule(path: string): unknown {
    delete require.cache[CIRCUS];
    return require(path);
  }

  requireModule(path: string): unknown {
    return require(path);
  }

  unstable_shouldLoadAsEsm(): boolean {
    return true;
  }

  unstable_importModule(path: string): Promise<unknown> {
    return import(`${pathToFileURL(path).href}?file=${++files}`);
  }

  /** @param circus the functions with which a test file defines its tests */
  setGlobalsForRuntime(circus: object): void {
    const mocker = this.#environment.moduleMocker!;
    const timers = this.#environment.fakeTimersModern!;
    const jest = {
      fn: mocker.fn.bind(mocker),
      spyOn: mocker.spyOn.bind(mocker),
      mocked: mocker.mocked.bind(mocker),
      restoreAllMocks: mocker.restoreAllMocks.bind(mocker),
      useFakeTimers: timers.useFakeTimers.bind(timers),
      useRealTimers: timers.useRealTimers.bind(timers),
      setSystemTime: timers.setSystemTime.bind(timers),
      advanceTimersByTimeAsync: timers.advanceTimersByTimeAsync.bind(timers),
    };
    Object.assign(globalThis, { [Symbol.for(GLOBALS)]: { ...circus, jest } });
  }

  getSourceMaps(): null {
    return null;
  }

  getAllCoverageInfoCopy(): undefined {}
  enterTestCode(): void {}
  leaveTestCode(): void {}
  teardown(): void {}
}

export { SharedRuntime as "module.exports" };
