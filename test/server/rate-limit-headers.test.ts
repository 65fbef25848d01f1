import { once } from "node:events";
import type { AddressInfo } from "node:net";
import { expect, test } from "@jest/globals";
import express from "express";
import { rateLimit } from "express-rate-limit";
import { createRateLimitHeaders } from "../../src/http/rate-limit-headers.ts";

test.each(["192.0.2.1", "2001:db8:0:100::/56", "unknown"])(
  "are those of express-rate-limit's draft 8 for the client %s",
  async (client) => {
    const app = express();
    app.use(
      rateLimit({
        windowMs: 3_600_000,
        limit: 1,
        standardHeaders: "draft-8",
        legacyHeaders: false,
        identifier: "requests",
        keyGenerator: () => client,
        validate: false,
      }),
    );
    const server = app.listen(0, "127.0.0.1");
    await once(server, "listening");
    const headersOf = createRateLimitHeaders({ limit: 1, windowSeconds: 3_600 });
    try {
      for (const used of [1, 2]) {
        const { port } = server.address() as AddressInfo;
        const { headers } = await fetch(`http://127.0.0.1:${port}`);
        const seconds = Number(/t=(\d+)/.exec(headers.get("ratelimit")!)![1]);
        expect(headersOf(client, used, seconds)).toEqual({
          RateLimit: headers.get("ratelimit"),
          "RateLimit-Policy": headers.get("ratelimit-policy"),
        });
      }
    } finally {
      server.close();
    }
  },
);
