import { readFileSync } from "node:fs";
import { beforeAll, expect, test } from "@jest/globals";
import { differences, readContract } from "../../src/access-contract/contract.ts";
import { CONTRACT_PAGE, readCommitted } from "../support/contract/files.ts";
import { generateContract } from "../support/contract/generate.ts";
import { renderContract } from "../support/contract/markdown.ts";

// The access contract: everything that any role may do, tried on a real server and compared with the committed file.

const HINT = "Run `npm run contract` and commit test/access/contract.jsonl and docs/access-contract.md.";

let current: string;
beforeAll(async () => {
  current = await generateContract();
});

test("the committed contract has the outcome of every attempt", () => {
  const committed = readCommitted() ?? "";
  if (committed === current) return;
  throw new Error([`Access has changed. ${HINT}`, ...differences(committed, current)].join("\n"));
});

test("the page shows the committed contract", () => {
  if (readFileSync(CONTRACT_PAGE, "utf8") === renderContract(readCommitted()!)) return;
  throw new Error(`docs/access-contract.md is stale. ${HINT}`);
});

test("each table that a role may read or write has rows to try", () => {
  const { contract } = readContract(current);
  const empty = [...contract].filter(([, operations]) =>
    [...operations.values()].some((outcomes) => [...outcomes.values()].includes("empty")),
  );
  expect(empty.map(([object]) => object)).toEqual([]);
});

test("each field is asked in a valid document", () => {
  const { contract } = readContract(current);
  const invalid = [...contract].filter(([, operations]) =>
    [...operations.values()].some((outcomes) =>
      [...outcomes.values()].some((outcome) => outcome.includes("GRAPHQL_VALIDATION_FAILED")),
    ),
  );
  expect(invalid.map(([object]) => object)).toEqual([]);
});

test("no role but the owner reaches a table of secrets", () => {
  const { contract } = readContract(current);
  const secret = [...contract].filter(([object]) => /^(table|partition) private\./.test(object));
  expect(secret.length).toBeGreaterThan(30);
  const reached = secret.filter(([, operations]) =>
    [...operations.values()].some((outcomes) => [...outcomes.values()].some((outcome) => outcome !== "-")),
  );
  expect(reached.map(([object]) => object)).toEqual([]);
});
