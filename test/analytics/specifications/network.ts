/** The network that stands for an address: its first three numbers (IPv4), or its first three groups (IPv6). */
export const networkOf = (address: string) => `case family(${address})
  when 4 then (substring(host(${address}) from '^\\d+\\.\\d+\\.\\d+') || '.0/24')::cidr
  when 6 then (host(${address} & 'ffff:ffff:ffff::') || '/48')::cidr
end`;
