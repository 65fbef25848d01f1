import type { Logger } from "pino";
import { ListenConnection } from "../request/listen-connection.ts";
import type { Notifier } from "../request/notifier.ts";
import type { Hub } from "./hub.ts";

/** The one connection of this process on which it hears that topics have news, however many subscribe to them. */
export function createLiveListener(options: {
  url: string;
  notifier: Notifier;
  logger: Logger;
  hub: Hub;
}): ListenConnection {
  const { hub } = options;
  return new ListenConnection({
    url: options.url,
    notifier: options.notifier,
    logger: options.logger,
    applicationName: "plinth-live",
    channel: "plinth_live",
    purpose: "news of live topics",
    // Nothing was heard while the connection was away, so everything open is read again from its cursor.
    onListening: () => hub.announceGap(),
    onNotification: (payload) => hub.hear(payload),
  });
}
