import { describe, expect, test } from "@jest/globals";
import { loadConfig } from "../../src/config/config.ts";
import { hostNames, parseDatabaseUrl } from "../../src/connection/database-url.ts";
import { tlsWays } from "../../src/connection/tls.ts";

describe("a database URL", () => {
  test.each([
    ["postgres://u:p@one:1,two:2/db", "one:1,two:2"],
    ["postgresql://u@one,two:5433/db", "one,two:5433"],
    ["postgres://u:p@[::1]:1,[fe80::1]/db", "[::1]:1,[fe80::1]"],
    ["postgres://u:p@/db?host=/var/run,two&port=1,2", "/var/run:1,two:2"],
    ["postgres://u:p@/db?host=one,two&port=6", "one:6,two:6"],
    ["postgres://u:p@%2Fvar%2Frun/db", "/var/run"],
    ["postgres:///db", "localhost"],
  ])("%s names the hosts %s", (url, names) => {
    expect(hostNames(parseDatabaseUrl(url))).toBe(names);
  });

  test("decodes its user, password and database, and passes other parameters on", () => {
    const url =
      "postgres://a%40b:p%3A:w%zz@x@one/d%20b?application_name=app&sslmode=require&options=-c%20a%3Db";
    const { user, password, database, hosts, parameters } = parseDatabaseUrl(url);
    expect({ user, password, database, hosts }).toEqual({
      user: "a@b",
      password: "p::w%zz@x",
      database: "d b",
      hosts: [{ host: "one", port: "" }],
    });
    expect(Object.fromEntries(parameters)).toEqual({ application_name: "app", options: "-c a=b" });
  });

  test.each([
    ["mysql://u:secret@one/db", "URL"],
    ["postgres://u:secret@one:70000/db", "port"],
    ["postgres://u:secret@one:1:2/db", "host"],
    ["postgres://u:secret@one,two,three/db?port=1,2", "numbers of hosts"],
    [
      "postgres://u:secret@one/db?target_session_attrs=master",
      "target_session_attrs must be any, read-write",
    ],
    ["postgres://u:secret@one/db?sslmode=required", "sslmode must be disable, allow"],
    ["postgres://u:secret@one/db?sslmode=require&sslrootcert=system", "verify-full"],
    ["postgres://u:secret@one/db?channel_binding=on", "channel_binding must be"],
    ["postgres://u:secret@one/db?connect_timeout=soon", "connect_timeout"],
  ])("%s is an invalid setting, whose message names the fault and no password", (url, fault) => {
    const load = () => loadConfig({ PLINTH_SERVICE_URL: url });
    expect(load).toThrow(expect.objectContaining({ code: "INVALID_SETTING" }));
    expect(load).toThrow(fault);
    expect(load).not.toThrow("secret");
  });
});

describe("sslmode without a certificate authority", () => {
  const ways = (query: string) =>
    tlsWays(parseDatabaseUrl(`postgres://u@one/db${query}`))?.map((tls) =>
      tls === false ? "plain" : tls.rejectUnauthorized === false ? "unchecked" : "checked",
    );
  test.each([
    ["", undefined],
    ["?sslmode=disable", ["plain"]],
    ["?sslmode=allow", ["plain", "unchecked"]],
    ["?sslmode=prefer", ["unchecked", "plain"]],
    ["?sslmode=require", ["unchecked"]],
    ["?sslmode=no-verify", ["unchecked"]],
    ["?sslmode=verify-ca", ["checked"]],
    ["?sslmode=verify-full", ["checked"]],
    ["?sslmode=verify-full&sslrootcert=system", ["checked"]],
    ["?ssl=true", ["checked"]],
  ])("%s: %j", (query, expected) => {
    expect(ways(query)).toEqual(expected);
  });
});
