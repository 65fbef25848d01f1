import "graphile-build-pg";
import { TYPES } from "@dataplan/pg";

/** PostGraphile knows ranges but not multiranges, and warns about every column of such a type, even outside the API. */
const MULTIRANGE = "m";

export const MultirangesPlugin: GraphileConfig.Plugin = {
  name: "PlinthMultirangesPlugin",
  version: "1.0.0",
  description: "Reads multiranges as text",
  gather: {
    hooks: {
      pgCodecs_findPgCodec(_info, event) {
        if (!event.pgCodec && event.pgType.typtype === MULTIRANGE) event.pgCodec = TYPES.text;
      },
    },
  },
};
