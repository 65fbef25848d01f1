import type { Logger } from "pino";
import { ListenConnection } from "../request/listen-connection.ts";
import type { Notifier } from "../request/notifier.ts";
import type { Hub } from "./hub.ts";

/** The process's single connection for news of topics, however many subscriptions there are. */
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
    // Notifications were lost while the connection was down, so every open subscription reads from its cursor.
    onListening: () => hub.announceGap(),
    onNotification: (payload) => hub.hear(payload),
  });
}
