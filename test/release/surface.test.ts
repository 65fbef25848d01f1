import { expect, test } from "@jest/globals";
import { readChangelog, UNRELEASED } from "../../src/upgrade/changelog.ts";
import {
  currentSurface,
  releasedSurface,
  type Surface,
  unmentionedChanges,
} from "../../tools/release/surface.ts";

// The rule of docs/versioning.md: a change of what users depend on is in the changelog.

test("the changelog mentions each change since the latest release", async () => {
  const unreleased = (await readChangelog()).find(({ version }) => version === UNRELEASED)?.text ?? "";
  expect(unmentionedChanges(releasedSurface(), currentSurface(), unreleased)).toEqual([]);
});

test("the names are those of the library, commands, settings, errors, functions and columns", () => {
  const { names } = currentSurface();
  for (const name of [
    /^export plinth createPlinth [0-9a-f]{8}$/,
    /^export plinth\/client createClient /,
    /^command migrate up$/,
    /^option migrate up --plan$/,
    /^setting PLINTH_OWNER_URL$/,
    /^setting PLINTH_MASTER_KEYS_FILE$/,
    /^error NOT_FOUND$/,
    /^function plinth\.current_user_id\(\) uuid$/,
    /^column analytics\.users\.\w+$/,
  ])
    expect(names.filter((each) => name.test(each)).length).toBeGreaterThan(0);
});

const released: Surface = {
  names: ["command rollback", "export plinth createPlinth 11111111", "option rollback --steps"],
  schema: "type Query { chat(id: ID!): String  user: String }",
};

test("an addition needs an entry in the changelog", () => {
  const now = { ...released, names: [...released.names, "command upgrade"] };
  expect(unmentionedChanges(released, now, "")).toEqual([
    expect.stringMatching(/^command upgrade is new\. Describe it under \[Unreleased\]/),
  ]);
  expect(unmentionedChanges(released, now, "### Added\n\n- Upgrades.")).toEqual([]);
});

test("a removal, a changed declaration and a breaking change of the API need their names in it", () => {
  const now = {
    names: ["command rollback", "export plinth createPlinth 22222222"],
    schema: "type Query { chat(id: ID!, path: ID!): String }",
  };
  expect(unmentionedChanges(released, now, "- Other changes.")).toEqual([
    expect.stringMatching(
      /^export plinth createPlinth \w+ was removed or changed\. Name `createPlinth` under/,
    ),
    expect.stringMatching(/^option rollback --steps was removed or changed\. Name `rollback --steps` under/),
    expect.stringMatching(/^GraphQL: Query\.user was removed\. Name `Query\.user` under/),
    expect.stringMatching(/^GraphQL: A required arg path on Query\.chat was added\. Name/),
  ]);
  const text = "`createPlinth`, `rollback --steps`, `Query.user`, `Query.chat`";
  expect(unmentionedChanges(released, now, text)).toEqual([]);
});
