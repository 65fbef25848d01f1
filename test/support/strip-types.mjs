// jest transformer: Node's own type stripping, so that tests run exactly what `node` runs and lines stay where they are.
import { createHash } from "node:crypto";
import { stripTypeScriptTypes } from "node:module";

const strip = (source) => ({ code: stripTypeScriptTypes(source, { mode: "strip" }) });

export default {
  process: strip,
  processAsync: async (source) => strip(source),
  getCacheKey: (source, path) =>
    createHash("sha256").update(`${process.version}\0${path}\0${source}`).digest("hex"),
};
