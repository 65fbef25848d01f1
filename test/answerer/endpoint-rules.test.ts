import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, describe, expect, test } from "@jest/globals";
import { checkEndpoint, isAllowedAddress } from "../../src/answerer/endpoint-rules.ts";
import { createGuardedFetch, type GuardedFetch } from "../../src/answerer/guarded-fetch.ts";

// Server-side request forgery: an address that a user or an administrator sets must not reach the operator's network.

const PUBLIC_ONLY = { privateNetworks: [], trustedUrls: [] };
const TIMEOUTS = { connectMs: 300_000, idleMs: 300_000 };

describe("addresses", () => {
  test.each(["93.184.216.34", "8.8.8.8", "2606:4700:4700::1111", "2a00:1450:4001:831::200e"])(
    "%s is public",
    (address) => {
      expect(isAllowedAddress(address, [], true)).toBe(true);
      expect(isAllowedAddress(address, [], false)).toBe(false);
    },
  );

  test.each([
    ["private", ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1", "fc00::1", "fdff::1"]],
    ["loopback", ["127.0.0.1", "127.255.255.254", "::1"]],
    ["unspecified", ["0.0.0.0", "0.1.2.3", "::"]],
    [
      "link-local, such as metadata services",
      ["169.254.169.254", "169.254.170.2", "fe80::1", "fd00:ec2::254"],
    ],
    ["shared (CGNAT)", ["100.64.0.1", "100.100.100.200", "100.127.255.255"]],
    ["multicast or broadcast", ["224.0.0.1", "239.255.255.255", "255.255.255.255", "ff02::1"]],
    [
      "reserved",
      [
        "240.0.0.1",
        "192.0.0.1",
        "192.0.2.1",
        "198.18.0.1",
        "198.51.100.1",
        "203.0.113.1",
        "2001:db8::1",
        "3fff::1",
        "100::1",
        "4000::1",
        "fec0::1",
      ],
    ],
    [
      "IPv4-mapped or IPv4-compatible",
      ["::ffff:10.0.0.1", "::ffff:8.8.8.8", "::ffff:7f00:1", "::7f00:1", "::10.0.0.1"],
    ],
    ["NAT64", ["64:ff9b::a00:1", "64:ff9b::808:808", "64:ff9b:1::a00:1"]],
    ["6to4 or Teredo", ["2002:a00:1::", "2002:7f00:1::1", "2001:0:4136:e378::"]],
    ["no address", ["", "localhost", "1", "0x7f.1", "fe80::1%eth0"]],
  ])("%s addresses are refused", (_, addresses) => {
    for (const address of addresses)
      expect({ address, allowed: isAllowedAddress(address, [], true) }).toEqual({ address, allowed: false });
  });

  test("of the operator's list are allowed, also without TLS, and no others", () => {
    const networks = ["10.1.0.0/16", "192.168.7.7", "fd00:1::/32"];
    for (const address of ["10.1.2.3", "192.168.7.7", "fd00:1::5"])
      for (const isSecure of [true, false]) expect(isAllowedAddress(address, networks, isSecure)).toBe(true);
    for (const address of ["10.2.0.1", "192.168.7.8", "fd00:2::5", "::ffff:10.1.2.3"])
      expect(isAllowedAddress(address, networks, true)).toBe(false);
  });
});

describe("the text of an address", () => {
  test.each([
    "http://example.com/v1",
    "ftp://example.com",
    "file:///etc/passwd",
    "example.com",
    "https://user@example.com",
    "https://user:password@example.com",
    "https://10.0.0.1/v1",
    "https://127.1/v1",
    "https://2130706433/v1",
    "https://0x7f000001/v1",
    "https://017700000001/v1",
    "https://[::1]/v1",
    "https://[::ffff:127.0.0.1]/v1",
    "https://[fe80::1]/v1",
  ])("%s is refused", (text) => {
    expect(() => checkEndpoint(text, PUBLIC_ONLY)).toThrow(/address/);
  });

  test.each(["https://example.com/v1", "https://example.com:8443", "https://8.8.8.8/v1"])(
    "%s is accepted before its name is resolved",
    (text) => {
      expect(checkEndpoint(text, PUBLIC_ONLY).href).toContain(new URL(text).host);
    },
  );
});

describe("requests", () => {
  const server = createServer((request, response) => {
    if (request.url === "/redirect") response.writeHead(302, { location: "http://127.0.0.1/" }).end();
    else if (request.url === "/huge")
      response.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(5_000_000)));
    else response.end(request.headers.host);
  });
  let port: number;
  const open: GuardedFetch[] = [];
  beforeAll(async () => {
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    port = (server.address() as AddressInfo).port;
  });
  afterAll(async () => {
    for (const each of open) await each.close();
    server.closeAllConnections();
    server.close();
  });

  /** A fetch whose names resolve to these addresses, in turn. */
  function fetchWith(privateNetworks: string[], answers: string[][], maxBytes?: number) {
    const asked: string[] = [];
    const guarded = createGuardedFetch({
      rules: { privateNetworks, trustedUrls: [] },
      timeouts: TIMEOUTS,
      ...(maxBytes === undefined ? {} : { maxBytes }),
      resolve: (hostname, _options, callback) => {
        asked.push(hostname);
        const addresses = answers[Math.min(asked.length, answers.length) - 1]!;
        callback(
          null,
          addresses.map((address) => ({ address, family: address.includes(":") ? 6 : 4 })),
        );
      },
    });
    open.push(guarded);
    return { fetch: guarded.fetch, asked };
  }
  const refused = async (request: Promise<Response>) => {
    const error = await request.then(
      () => undefined,
      (reason: Error) => reason,
    );
    return (error?.cause as Error | undefined)?.name ?? error?.name;
  };

  test("go to the address that was checked, under the name that was asked", async () => {
    const { fetch, asked } = fetchWith(["127.0.0.1"], [["127.0.0.1"]]);
    const response = await fetch(`http://model.example:${port}/`);
    expect(await response.text()).toBe(`model.example:${port}`);
    expect(asked).toEqual(["model.example"]);
  });

  test("are refused when a name resolves to a private address", async () => {
    for (const address of ["10.0.0.1", "169.254.169.254", "::1", "::ffff:127.0.0.1"])
      expect(await refused(fetchWith([], [[address]]).fetch("https://model.example/"))).toBe(
        "EndpointRefused",
      );
  });

  test("are refused when only one of a name's addresses is private", async () => {
    const { fetch } = fetchWith([], [["8.8.8.8", "10.0.0.1"]]);
    expect(await refused(fetch("https://model.example/"))).toBe("EndpointRefused");
  });

  test("are refused when a name resolves differently the second time (DNS rebinding)", async () => {
    const { fetch, asked } = fetchWith(["127.0.0.1"], [["127.0.0.1"], ["127.0.0.2"]]);
    // A connection serves one request.
    const headers = { connection: "close" };
    expect((await fetch(`http://model.example:${port}/`, { headers })).status).toBe(200);
    // Each connection resolves the name once: there is no second time between the check and the use.
    expect(asked).toHaveLength(1);
    expect(await refused(fetch(`http://model.example:${port}/`, { headers }))).toBe("EndpointRefused");
    expect(asked).toHaveLength(2);
  });

  test("without TLS are refused to public addresses", async () => {
    const { fetch } = fetchWith(["127.0.0.1"], [["8.8.8.8"]]);
    expect(await refused(fetch("http://model.example/"))).toBe("EndpointRefused");
  });

  test("to an address of the environment are not checked, but only below its path", async () => {
    const base = `http://127.0.0.1:${port}`;
    const rules = { privateNetworks: [], trustedUrls: [`${base}/v1`] };
    const guarded = createGuardedFetch({ rules, timeouts: TIMEOUTS });
    open.push(guarded);
    expect((await guarded.fetch(`${base}/v1/chat/completions`)).status).toBe(200);
    for (const address of [
      `http://127.0.0.1:${port + 1}/v1/chat/completions`,
      `${base}/`,
      `${base}/v10/chat/completions`,
      `${base}/v1/../admin`,
      `${base}/v1/%2e%2e/admin`,
      `${base}/v1/admin?x=/chat/completions`,
      `http://127.0.0.1:${port}@model.example/v1/`,
    ])
      expect([address, await refused(guarded.fetch(address))]).toEqual([address, "EndpointRefused"]);
  });

  test("do not follow redirects", async () => {
    const { fetch } = fetchWith(["127.0.0.1"], [["127.0.0.1"]]);
    expect((await fetch(`http://model.example:${port}/redirect`)).status).toBe(302);
  });

  test("stop at the size limit after decompression", async () => {
    const { fetch } = fetchWith(["127.0.0.1"], [["127.0.0.1"]], 100_000);
    const response = await fetch(`http://model.example:${port}/huge`);
    await expect(response.text()).rejects.toThrow("too large");
  });
});
