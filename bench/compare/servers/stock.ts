// PostGraphile and Express as their documentation sets them up, over the same schemas, roles and claims.
import "graphile-config";
import { createServer } from "node:http";
import { PgSimplifyInflectionPreset } from "@graphile/simplify-inflection";
import express from "express";
import jwt from "jsonwebtoken";
import pg from "pg";
import { postgraphile } from "postgraphile";
import { makePgService } from "postgraphile/adaptors/pg";
import { grafserv } from "postgraphile/grafserv/express/v4";
import { PostGraphileAmberPreset } from "postgraphile/presets/amber";
import { API_SCHEMAS } from "../../../src/graphql/preset.ts";
import { serverEnvironment } from "./environment.ts";

const { port, databaseUrl, key, poolSize } = serverEnvironment();

const pool = new pg.Pool({ connectionString: databaseUrl, max: poolSize, idleTimeoutMillis: 0 });
pool.on("error", () => {});
const preset: GraphileConfig.Preset = {
  extends: [PostGraphileAmberPreset, PgSimplifyInflectionPreset],
  pgServices: [makePgService({ pool, schemas: [...API_SCHEMAS], pubsub: false })],
  grafserv: { graphqlPath: "/graphql", graphiql: false, watch: false },
  grafast: {
    explain: false,
    context(requestContext) {
      const token = requestContext.expressv4?.req.headers.authorization?.slice("Bearer ".length);
      if (!token) return { pgSettings: { role: "plinth_anonymous" } };
      const claims = jwt.verify(token, key, { algorithms: ["HS256"] }) as jwt.JwtPayload;
      return {
        pgSettings: {
          role: "plinth_user",
          "jwt.claims.user_id": claims.sub,
          "jwt.claims.session_id": claims.sid,
        },
      };
    },
  },
};

const app = express();
const server = createServer(app);
const serv = postgraphile(preset).createServ(grafserv);
await serv.addTo(app, server);
server.listen(port, "127.0.0.1", () => process.send?.("ready"));
