#!/bin/sh
# Writes new passwords, connection URLs and keys for compose.yaml into a folder, by default secrets/ beside this file. Keeps the files
# that exist, because a database that has been used needs its keys and passwords. Back the folder up.
set -eu
folder=${1:-$(dirname "$0")/secrets}
host=${DATABASE_HOST:-database}
umask 077
mkdir -p "$folder"
chmod 700 "$folder"

random() { openssl rand -base64 32 | tr '+/' '-_' | tr -d '=\n'; }

# The user of a container may be another one than the owner, so these files are open to all, inside a folder that is not.
keep() {
  [ -e "$folder/$1" ] || printf '%s\n' "$2" > "$folder/$1"
  chmod "$3" "$folder/$1"
}

keep database_password "$(random)" 444
keep owner_password "$(random)" 444
keep owner_url "postgres://plinth_owner:$(cat "$folder/owner_password")@$host/plinth" 444
for role in authenticator service worker analyst; do
  keep "${role}_url" "postgres://plinth_$role:$(random)@$host/plinth" 444
done

# Plinth rejects files with keys that others can read.
keep jwt_keys "k1:$(random)" 400
keep master_keys "1:$(random)" 400
[ "$(id -u)" != 0 ] || chown "${RUN_AS:-1000:1000}" "$folder/jwt_keys" "$folder/master_keys"
