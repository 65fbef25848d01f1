import { readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, test } from "@jest/globals";
import { PACKAGE_ROOT } from "../../src/support/paths.ts";
import { PAGES } from "../support/pages.ts";

// The limits that the pages state are those of the code and of the schema. Measurements name their benchmark, or their month.

const read = (path: string) => readFileSync(join(PACKAGE_ROOT, path), "utf8");
/** Without line breaks. */
const proseOf = (page: string) => read(page).replace(/\s+/g, " ");

/** A page, its words with the figure in brackets, the file that decides, and its words with the figure. */
type Figure = readonly [page: string, says: RegExp, file: string, decides: RegExp, unit?: number];

const FIGURES: readonly Figure[] = [
  [
    "docs/api.md",
    /object of up to ([\d,]+) kB/,
    "migrations/schema/identity.sql",
    /device_info::text\) <= (\d+)/,
    1024,
  ],
  [
    "docs/api.md",
    /characters \(8 .*? at most (\d+) bytes/,
    "src/auth/password-policy.ts",
    /MAX_PASSWORD_BYTES = (\d+)/,
  ],
  [
    "docs/api.md",
    /A password has at least (\d+) characters/,
    "src/auth/password-policy.ts",
    /MIN_PASSWORD_LENGTH = (\d+)/,
  ],
  [
    "docs/api.md",
    /`expiresAt`, at most (\d+) days ahead/,
    "migrations/schema/identity.sql",
    /expires_at <= \(created_at \+ '(\d+) days'::interval/,
  ],
  [
    "docs/api.md",
    /any JSON value up to (\d+) KiB/,
    "src/accounts/conversation-memory/conversation-memories.ts",
    /MAX_MEMORY_BYTES = (\d+) \* 1024/,
  ],
  [
    "docs/api.md",
    /only while it is in use: at most ([\d,]+)/,
    "src/documents/remembered-texts.ts",
    /MAX_CHARACTERS = ([\d_]+)/,
  ],
  [
    "docs/chat.md",
    /An answer has at most ([\d,]+) bytes/,
    "src/answerer/chat-answers.ts",
    /maxBytes: ([\d_]+)/,
  ],
  [
    "docs/chat.md",
    /An answer has at most ([\d,]+) bytes/,
    "migrations/schema/llm.sql",
    /messages_content_check check \(octet_length\(content\) <= (\d+)/,
  ],
  ["docs/chat.md", /a delta ([\d,]+)\./, "migrations/schema/llm.sql", /octet_length\(thinking\)\) <= (\d+)/],
  ["docs/chat.md", /up to (\d+) MiB each/, "migrations/schema/llm.sql", /size_bytes <= (\d+)/, 1024 * 1024],
  [
    "docs/models.md",
    /An answer has at most ([\d,]+) bytes/,
    "src/answerer/chat-answers.ts",
    /maxBytes: ([\d_]+)/,
  ],
  [
    "docs/models.md",
    /a message of the room, at most ([\d,]+) bytes/,
    "src/answerer/room-answers.ts",
    /maxBytes: ([\d_]+)/,
  ],
  ["docs/models.md", /up to (\d+) functions/, "src/answerer/model-stream.ts", /MAX_CALLS = (\d+)/],
  [
    "docs/models.md",
    /at most (\d+) MB after decompression/,
    "src/answerer/guarded-fetch.ts",
    /MAX_RESPONSE_BYTES = ([\d_]+)/,
    1_000_000,
  ],
  [
    "docs/development.md",
    /A document of more than ([\d,]+) characters/,
    "src/graphql/limits/parse-and-validate.ts",
    /MAX_KEPT_LENGTH = ([\d_]+)/,
  ],
  [
    "docs/deployment.md",
    /A worker waits up to (\d+) seconds for its jobs/,
    "src/jobs/worker.ts",
    /STOP_TIMEOUT_MS = ([\d_]+)/,
    1_000,
  ],
  [
    "docs/operations.md",
    /due more than (\d+) minutes ago/,
    "src/jobs/overdue.ts",
    /OVERDUE_AFTER_MINUTES = (\d+)/,
  ],
  [
    "docs/operations.md",
    /counted up to (\d+) MB/,
    "src/migration-plan/live.ts",
    /COUNTED_BYTES = (\d+) \* 1024 \* 1024/,
  ],
  [
    "docs/operations.md",
    /archived within (\d+) seconds/,
    "src/database/embedded/archiving.ts",
    /ARCHIVE_TIMEOUT_SECONDS = (\d+)/,
  ],
  [
    "docs/operations.md",
    /retries after a pause of up to (\w+) seconds/,
    "src/database/locks/retry-when-blocked.ts",
    /LONGEST_PAUSE_MS = ([\d_]+)/,
    1_000,
  ],
  [
    "docs/memory.md",
    /within a minute, (\d+) in a request/,
    "src/jobs/embed-memories.ts",
    /BATCH_SIZE = (\d+)/,
  ],
  [
    "docs/memory.md",
    /`text` \| at most ([\d,]+) characters/,
    "src/accounts/memories/memory.ts",
    /MAX_TEXT_LENGTH = ([\d_]+)/,
  ],
  [
    "docs/memory.md",
    /up to five memories \(at most ([\d,]+) characters\)/,
    "src/answerer/recalled-memories.ts",
    /MAX_LENGTH = ([\d_]+)/,
  ],
  [
    "docs/replicas.md",
    /with pauses of up to (\d+) s/,
    "src/request/replicas/replica.ts",
    /LONGEST_RETRY_MS = ([\d_]+)/,
    1_000,
  ],
  [
    "docs/replicas.md",
    /does not answer within (\d+) s/,
    "src/request/replicas/replica.ts",
    /CHECK_TIMEOUT_MS = ([\d_]+)/,
    1_000,
  ],
  [
    "docs/client.md",
    /`test\/client\/bundle\.test\.ts` fails above (\d+) kB/,
    "test/client/bundle.test.ts",
    /toBeLessThan(?:OrEqual)?\((\d[\d_]*)\)/,
    1_000,
  ],
];

const WORDS: Readonly<Record<string, number>> = { five: 5, ten: 10 };
const numberOf = (match: RegExpExecArray): number => {
  const text = match.slice(1).find((each) => each !== undefined)!;
  return WORDS[text] ?? Number(text.replace(/[,_]/g, ""));
};

describe("a limit of the pages is that of", () => {
  test.each(FIGURES.map((figure) => [figure[2], figure[0], figure] as const))(
    "%s, which %s states",
    (_file, _page, [page, says, file, decides, unit = 1]) => {
      const stated = says.exec(proseOf(page));
      const decided = decides.exec(read(file));
      expect({ page, says, isStated: stated !== null }).toEqual({ page, says, isStated: true });
      expect({ file, decides, isDecided: decided !== null }).toEqual({ file, decides, isDecided: true });
      expect(numberOf(stated!) * unit).toBe(numberOf(decided!));
    },
  );
});

test("the figures of docs/development.md about mutants are lower bounds of what the tests make", () => {
  const [, policies, grants] = /more than ([\d,]+) mutants of policies and ([\d,]+) of grants/.exec(
    proseOf("docs/development.md"),
  )!;
  // The tests fail below these numbers.
  const least = (file: string) =>
    [...read(file).matchAll(/toBeGreaterThan\(([\d_]+)\)/g)].map(([, number]) =>
      Number(number!.replaceAll("_", "")),
    );
  expect(least("test/schema/policy-mutation.test.ts")).toContain(Number(policies!.replace(",", "")));
  expect(least("test/schema/grant-mutation.test.ts")).toContain(Number(grants!.replace(",", "")));
});

test("each page with measured times, sizes or shares says how to measure them, or when they were", () => {
  const measured =
    /\b(takes?|took|costs?|spent|needs?) (about |less than |another )?[\d.,]+( to [\d.,]+)? ?(ms|µs|s|MB|kB|bytes|%)(?! \(|\w)/;
  const silent = PAGES.filter(
    (page) =>
      page !== "CHANGELOG.md" &&
      measured.test(proseOf(page)) &&
      !/bench\/|npm run bench|Measured|November 2026|bundle\.test\.ts/.test(proseOf(page)),
  );
  expect(silent).toEqual([]);
});
