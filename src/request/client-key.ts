import { ipKeyGenerator } from "express-rate-limit";

/** Who a client is for every limit: an IPv4 address, or an IPv6 network of 56 bits, the size one customer gets. */
export function clientKey(clientIp: string | undefined): string {
  return clientIp ? ipKeyGenerator(clientIp) : "unknown";
}
