import { lookup as systemLookup } from "node:dns";
import { isIP, type LookupFunction } from "node:net";
import ipaddr from "ipaddr.js";

/** The addresses of model servers that requests may go to. */
export interface EndpointRules {
  /** CIDR blocks that are allowed although they are not public; also over http. */
  readonly privateNetworks: readonly string[];
  /** Base URLs that the operator set in the environment; addresses below them are not checked. */
  readonly trustedUrls: readonly string[];
}

/** An address that requests must not go to; its message contains no address. */
export class EndpointRefused extends Error {
  override readonly name = "EndpointRefused";
}

/** IPv6 addresses outside of it are not public, even if a later standard gives them a meaning. */
const GLOBAL_UNICAST = ipaddr.parseCIDR("2000::/3");

type Address = ipaddr.IPv4 | ipaddr.IPv6;

/** Whether an address is in one of the networks. */
function isIn(address: Address, networks: readonly string[]): boolean {
  return networks.some((network) => {
    const [range, bits] = network.includes("/")
      ? ipaddr.parseCIDR(network)
      : ([ipaddr.parse(network), network.includes(":") ? 128 : 32] as const);
    return range.kind() === address.kind() && address.match(range as never, bits);
  });
}

/**
 * Whether an address is on the public Internet: neither private, loopback, link-local (metadata services), shared (CGNAT),
 * multicast, reserved, nor an IPv6 address that contains an IPv4 address (mapped, NAT64, 6to4, Teredo).
 */
function isPublic(address: Address): boolean {
  if (address.range() !== "unicast") return false;
  return address.kind() === "ipv4" || address.match(GLOBAL_UNICAST as never);
}

/**
 * Whether a connection to an address is allowed. Without TLS, only the listed private networks are.
 * @param text an IP address
 */
export function isAllowedAddress(text: string, networks: readonly string[], isSecure: boolean): boolean {
  if (!ipaddr.isValid(text)) return false;
  const address = ipaddr.parse(text);
  return (isSecure && isPublic(address)) || isIn(address, networks);
}

/**
 * Checks everything about an address that needs no DNS.
 * @throws EndpointRefused
 */
export function checkEndpoint(text: string, { privateNetworks }: EndpointRules): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url?.protocol !== "https:" && url?.protocol !== "http:")
    throw new EndpointRefused("The address must begin with https.");
  if (url.username || url.password)
    throw new EndpointRefused("The address must not contain a user name or a password.");
  const isSecure = url.protocol === "https:";
  if (!isSecure && privateNetworks.length === 0)
    throw new EndpointRefused("The address must begin with https.");
  const host = url.hostname.replace(/^\[|\]$/g, "");
  // A connection to an IP address asks no lookup function.
  if (isIP(host) && !isAllowedAddress(host, privateNetworks, isSecure)) throw notAllowed();
  return url;
}

/** Whether an address passes the checks that need no DNS. */
export function isAllowedEndpoint(text: string, privateNetworks: readonly string[]): boolean {
  try {
    checkEndpoint(text, { privateNetworks, trustedUrls: [] });
    return true;
  } catch (error) {
    if (error instanceof EndpointRefused) return false;
    throw error;
  }
}

type Resolve = (
  hostname: string,
  options: { all: true },
  callback: (error: NodeJS.ErrnoException | null, addresses: { address: string; family: number }[]) => void,
) => void;

/**
 * Returns the lookup function of connections. The connection uses exactly the addresses that were checked, so a name that resolves
 * differently the next time (DNS rebinding) changes nothing. All addresses of a name must be allowed.
 */
export function guardedLookup(
  networks: readonly string[],
  isSecure: boolean,
  resolve: Resolve = systemLookup,
): LookupFunction {
  return (hostname, options, callback) => {
    resolve(hostname, { all: true }, (error, addresses) => {
      if (error) return callback(error, "", 0);
      const isAllowed =
        addresses.length > 0 &&
        addresses.every(({ address }) => isAllowedAddress(address, networks, isSecure));
      if (!isAllowed) return callback(notAllowed() as NodeJS.ErrnoException, "", 0);
      if (options.all) return callback(null, addresses);
      callback(null, addresses[0]!.address, addresses[0]!.family);
    });
  };
}

function notAllowed(): EndpointRefused {
  return new EndpointRefused("The address is not allowed.");
}
