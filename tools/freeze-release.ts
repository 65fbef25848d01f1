// Freezes what belongs to the version of package.json: the migrations that no release has yet, with their rollbacks, and the names
// and the GraphQL schema with which later versions are compared.
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { freezeMigrations } from "../src/database/frozen-migrations.ts";
import { MIGRATIONS_FOLDER, PACKAGE_ROOT } from "../src/support/paths.ts";
import { PLINTH_VERSION } from "../src/support/version.ts";
import { currentSurface, RELEASED_SCHEMA, RELEASED_SURFACE } from "./release/surface.ts";

const names = await freezeMigrations(MIGRATIONS_FOLDER, PLINTH_VERSION);
for (const name of names) console.log(`frozen with ${PLINTH_VERSION}  ${name}`);
mkdirSync(join(PACKAGE_ROOT, dirname(RELEASED_SURFACE)), { recursive: true });
const { names: surface, schema } = currentSurface();
writeFileSync(join(PACKAGE_ROOT, RELEASED_SURFACE), `${surface.join("\n")}\n`);
writeFileSync(join(PACKAGE_ROOT, RELEASED_SCHEMA), schema);
console.log(`Commit migrations/CHECKSUMS, ${RELEASED_SURFACE} and ${RELEASED_SCHEMA}.`);
