import "postgraphile";

/** A path of unreserved characters only: it becomes part of a page. */
const PLAIN_PATH = /^(\/[\w.~-]+)*$/;

/** Makes GraphiQL's page refer to the path below which an application has mounted Plinth. */
export const GraphiqlBasePlugin: GraphileConfig.Plugin = {
  name: "PlinthGraphiqlBasePlugin",
  version: "1.0.0",
  description: "Finds GraphiQL's files and the API below the path at which Plinth is mounted",
  grafserv: {
    middleware: {
      ruruHTML(next, event) {
        const { plinthBase: base } = event.request.requestContext;
        if (base && PLAIN_PATH.test(base)) {
          const { endpoint = "", staticPath = "" } = event.config;
          event.config = { ...event.config, endpoint: base + endpoint, staticPath: base + staticPath };
          // Made for the other paths; without them, they are made from the configuration.
          event.htmlParts = {} as typeof event.htmlParts;
        }
        return next();
      },
    },
  },
};
