import { expect, test } from "@jest/globals";
import type { Cell } from "../../src/access-contract/cells.ts";
import { contractOf, differences, readContract, writeContract } from "../../src/access-contract/contract.ts";
import { renderContract } from "../support/contract/markdown.ts";

// The file of the contract, its page and its differences, from cells made by hand.

const ROLES = { users: ["member", "manage_users"], others: ["anonymous", "user", "other user", "worker"] };

/** The outcomes of one operation, in the order of the roles: anonymous, user, other user, worker, member, manage_users. */
function cellsOf(object: string, operation: string, outcomes: readonly string[]): readonly Cell[] {
  const roles = [...ROLES.others, ...ROLES.users];
  return outcomes.map((outcome, i) => ({ object, operation, role: roles[i]!, outcome }));
}
const fileOf = (...cells: readonly (readonly Cell[])[]) => writeContract(contractOf(cells.flat()), ROLES);

const CHATS = ["-", "own", "none", "-", "none", "all"];
const DENIED = ["-", "-", "-", "-", "-", "-"];

test("writes what differs from the usual, and reads every outcome back", () => {
  const text = fileOf(
    cellsOf("table llm.chats", "select", CHATS),
    cellsOf("table llm.chats", "delete", DENIED),
  );
  expect(text.trimEnd().split("\n").slice(1)).toEqual([
    '{"object":"table llm.chats","operations":["delete"],"outcomes":{}}',
    '{"object":"table llm.chats","operations":["select"],"outcomes":{"user":"own","other user":"none","manage_users":"all"}}',
  ]);
  const { contract } = readContract(text);
  expect(Object.fromEntries(contract.get("table llm.chats")!.get("select")!)).toEqual(
    Object.fromEntries(cellsOf("", "", CHATS).map(({ role, outcome }) => [role, outcome])),
  );
});

test("does not depend on the order of the attempts", () => {
  const [a, b] = [cellsOf("table a.a", "select", CHATS), cellsOf("table b.b", "select", DENIED)];
  expect(fileOf(a, b)).toBe(fileOf([...b].reverse(), [...a].reverse()));
});

test("shows the partitions of all months as one, and a month that differs", () => {
  const november = cellsOf("partition security.error_logs_2026_11", "select", DENIED);
  const object = (text: string) => JSON.parse(text.split("\n")[1]!);
  expect(
    object(fileOf(november, cellsOf("partition security.error_logs_2026_12", "select", DENIED))),
  ).toEqual({
    object: "partition security.error_logs_YYYY_MM",
    operations: ["select"],
    outcomes: {},
  });
  const open = fileOf(november, cellsOf("partition security.error_logs_2026_12", "select", CHATS));
  expect(object(open).outcomes).toMatchObject({ user: "- or own" });
});

test("differences name roles, operation, object and both outcomes", () => {
  const before = fileOf(cellsOf("table llm.chats", "select", CHATS), cellsOf("query old", "ask", DENIED));
  const after = fileOf(cellsOf("table llm.chats", "select", ["-", "all", "all", "-", "all", "all"]));
  expect(differences(before, after)).toEqual([
    "anonymous, user, other user, member, manage_users: ask query old: - → absent",
    "user: select table llm.chats: own → all",
    "other user, member: select table llm.chats: none → all",
  ]);
  expect(differences(before, before)).toEqual([]);
});

test("the page has a row for an object and says which objects are closed", () => {
  const page = renderContract(
    fileOf(cellsOf("table llm.chats", "select", CHATS), cellsOf("table llm.secrets", "select", DENIED)),
  );
  expect(page).toContain("| `chats` | - | S own | S none | manage_users: S all |");
  expect(page).toContain("No role has a right to: `secrets`.");
});
