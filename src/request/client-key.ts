import { ipKeyGenerator } from "express-rate-limit";

/** Identifies a client for every limit: an IPv4 address, or a /56 IPv6 network, the size that one customer gets. */
export function clientKey(clientIp: string | undefined): string {
  return clientIp ? ipKeyGenerator(clientIp) : "unknown";
}
