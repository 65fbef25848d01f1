-- A default cannot be taken away by replacing.
drop function identity.set_allowed_networks(cidr[], boolean);
--!restore identity/functions/set_allowed_networks.sql
