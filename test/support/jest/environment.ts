import type { JestEnvironmentConfig } from "@jest/environment";
import { ModernFakeTimers } from "@jest/fake-timers";
import { ModuleMocker } from "jest-mock";

/**
 * Jest's own environment gives each test file new global objects, and with them every module must be loaded and compiled again.
 * Here, the test files of a worker share Node's global objects and all modules outside test/, as the parts of one process do.
 * See runtime.ts.
 */
class SharedEnvironment {
  readonly global = globalThis;
  readonly moduleMocker = new ModuleMocker(globalThis);
  readonly fakeTimers = null;
  readonly fakeTimersModern: ModernFakeTimers;
  readonly #exit = process.exit;
  readonly #variables = { ...process.env };

  constructor({ projectConfig }: JestEnvironmentConfig) {
    this.fakeTimersModern = new ModernFakeTimers({ config: projectConfig, global: globalThis });
  }

  async setup(): Promise<void> {}

  /** Restores what a test file could leave to the next one. */
  async teardown(): Promise<void> {
    this.fakeTimersModern.dispose();
    this.moduleMocker.restoreAllMocks();
    // Jest's runner wraps it for each file.
    process.exit = this.#exit;
    for (const name of Object.keys(process.env)) if (!(name in this.#variables)) delete process.env[name];
    Object.assign(process.env, this.#variables);
  }

  /** Jest's runner insists on this method; only Jest's own runtime calls it. */
  getVmContext(): null {
    return null;
  }
}

export { SharedEnvironment as "module.exports" };
