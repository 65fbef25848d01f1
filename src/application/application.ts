import type { JobDefinition } from "../jobs/index.ts";

/** The parts that an application adds to Plinth. Each is optional. */
export interface Application {
  /** PostgreSQL schemas of the application that appear in the API beside Plinth's. */
  readonly schemas?: readonly string[] | undefined;
  /** Folder of the application's own migrations, which run after Plinth's. */
  readonly migrations?: string | undefined;
  /** PostGraphile plugins, which run after Plinth's. */
  readonly plugins?: readonly GraphileConfig.Plugin[] | undefined;
  /** Jobs on the same worker. */
  readonly jobs?: readonly JobDefinition[] | undefined;
  /** Names of the modules to use, see docs/mount.md; all by default. Replaces PLINTH_MODULES. */
  readonly modules?: readonly string[] | undefined;
}

/** Returns the application unchanged, with its types checked: `export default defineApplication({ … })` in plinth.config.ts. */
export function defineApplication(application: Application): Application {
  return application;
}
