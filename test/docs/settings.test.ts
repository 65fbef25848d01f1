import { readdirSync, readFileSync } from "node:fs";
import { expect, test } from "@jest/globals";
import { ALL_LOGIN_ROLES } from "../../src/config/roles.ts";

const read = (path: string) => readFileSync(new URL(`../../${path}`, import.meta.url), "utf8");

/** The names in the first column of the table in docs/settings.md; `…_X` stands for the preceding name with another ending. */
function documented(): string[] {
  return read("docs/settings.md")
    .split("\n")
    .filter((line) => line.startsWith("| `PLINTH_"))
    .flatMap((line) => {
      const names = [...line.split("|")[1]!.matchAll(/`([^`]+)`/g)].map(([, name]) => name!);
      return names.map((name) => name.replace(/^…/, names[0]!.replace(/_[A-Z]+$/, "")));
    });
}

test("docs/settings.md lists exactly the settings that src/config reads", () => {
  const folder = new URL("../../src/config/", import.meta.url);
  const source = readdirSync(folder)
    .map((file) => read(`src/config/${file}`))
    .join("\n");
  const named = [...source.matchAll(/(?:"|env\.)(PLINTH_[A-Z_]+)\b/g)].map(([, name]) => name!);
  const files = [...source.matchAll(/(?:fileInstead|textOrFile)\(env, "(PLINTH_[A-Z_]+)"/g)];
  const wanted = [
    ...named,
    ...files.map(([, name]) => `${name}_FILE`),
    ...ALL_LOGIN_ROLES.flatMap((role) =>
      ["", "_FILE"].map((end) => `PLINTH_${role.toUpperCase()}_URL${end}`),
    ),
  ];
  expect(documented().sort()).toEqual([...new Set(wanted)].sort());
});
