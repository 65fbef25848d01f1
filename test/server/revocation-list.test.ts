import { describe, expect, test } from "@jest/globals";
import { type Revocation, RevocationList } from "../../src/accounts/revocation/revocation-list.ts";
import { OpenSockets } from "../../src/http/websocket/open-sockets.ts";

const claims = {
  userId: "user",
  sessionId: "session",
  tokenId: "token",
  tokenVersion: 3,
  expiresAt: new Date(Date.now() + 60_000),
};
const revocation = (
  kind: Revocation["kind"],
  subjectId: string,
  tokenVersion: number | null = null,
): Revocation => ({
  kind,
  subjectId,
  tokenVersion,
  expiresAt: new Date(2_000),
});
const listOf = (...revocations: Revocation[]): RevocationList => {
  const list = new RevocationList();
  for (const each of revocations) list.add(each);
  return list;
};

describe("a token", () => {
  test.each<[string, Revocation[], boolean]>([
    ["is not revoked by an empty list", [], false],
    ["is revoked by its own id", [revocation("token", "token")], true],
    ["is revoked by its session's id", [revocation("session", "session")], true],
    ["is revoked by its user's id", [revocation("user", "user")], true],
    ["is revoked by a higher version of its user", [revocation("user", "user", 4)], true],
    ["is not revoked by an equal version", [revocation("user", "user", 3)], false],
    ["is not revoked by a lower version", [revocation("user", "user", 2)], false],
    [
      "is revoked by the highest of many versions, in any order",
      [revocation("user", "user", 4), revocation("user", "user", 2)],
      true,
    ],
    [
      "is revoked by the end of the account, whatever versions follow",
      [revocation("user", "user"), revocation("user", "user", 1)],
      true,
    ],
    [
      "is not revoked by entries for others",
      [revocation("token", "other"), revocation("session", "other"), revocation("user", "other")],
      false,
    ],
  ])("%s", (_what, revocations, expected) => {
    expect(listOf(...revocations).isRevoked(claims)).toBe(expected);
  });
});

test("forgets entries once no token they cover can be valid", () => {
  const list = listOf(revocation("session", "session"), revocation("user", "user", 4));
  list.purge(1_999);
  expect(list.size).toBe(2);
  list.purge(2_000);
  expect(list.size).toBe(0);
});

describe("open sockets", () => {
  test("close by user, session, token and version, each once, and leave the rest open", () => {
    const sockets = new OpenSockets();
    const closed: string[] = [];
    const forget = new Map<string, () => void>();
    const open = (name: string, overrides: Partial<typeof claims>) =>
      forget.set(
        name,
        sockets.add({ ...claims, ...overrides }, () => {
          closed.push(name);
          forget.get(name)!();
        }),
      );
    open("old", { sessionId: "s1", tokenId: "t1", tokenVersion: 1 });
    open("new", { sessionId: "s2", tokenId: "t2", tokenVersion: 2 });
    open("other", { userId: "other", sessionId: "s3", tokenId: "t3" });
    sockets.revoke(revocation("user", "user", 2));
    expect(closed).toEqual(["old"]);
    sockets.revoke(revocation("user", "user", 2));
    sockets.revoke(revocation("session", "s1"));
    expect(closed).toEqual(["old"]);
    sockets.revoke(revocation("token", "t3"));
    sockets.revoke(revocation("session", "s2"));
    expect(closed).toEqual(["old", "other", "new"]);
  });
});
