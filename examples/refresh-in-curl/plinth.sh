#!/bin/sh
# A session as a mobile app keeps it, with curl and jq:
#
#   ./plinth.sh sign-in ada                  asks for the password, or reads it from a pipe
#   ./plinth.sh ask '{ currentUser { username } }'
#   ./plinth.sh sign-out
#
# PLINTH_URL is the server (http://127.0.0.1:5678), PLINTH_SESSION the file of the session. The app's keychain takes the file's place.
set -eu
umask 077 # the file holds the refresh token
url=${PLINTH_URL:-http://127.0.0.1:5678}/graphql
session=${PLINTH_SESSION:-$HOME/.plinth-session.json}

# Sends an operation. Secrets go to curl through pipes, because other users see the arguments of a program.
# $1: a body for the API, $2: an access token or nothing
send() {
  {
    printf 'header = "content-type: application/json"\n'
    [ -z "${2:-}" ] || printf 'header = "authorization: Bearer %s"\n' "$2"
    printf 'data = "%s"\n' "$(printf %s "$1" | sed 's/[\\"]/\\&/g')"
  } | curl --silent --show-error --max-time 20 --config - "$url"
}

# Stores the tokens of an answer, whole or not at all: a killed app keeps the old ones. A token with other characters than RFC 6750
# allows could add options to curl's configuration, so it is refused.
keep() { # $1: an answer, $2: the mutation's name
  printf %s "$1" | jq -e --arg name "$2" '.data[$name] | select([.accessToken, .refreshToken] | all(test("^[A-Za-z0-9._~+/=-]+$"))) | {accessToken, refreshToken}' >"$session.new" || {
    rm -f "$session.new"
    printf %s "$1" | jq -r '.errors[0].message // "This account needs a second factor: see docs/api.md."' >&2
    return 1
  }
  mv "$session.new" "$session"
}

sign_in() { # $1: username or address
  if [ -t 0 ]; then
    printf 'Password: ' >&2
    stty -echo
    IFS= read -r password || true
    stty echo
    echo >&2
  else
    IFS= read -r password || true
  fi
  body=$(printf %s "$password" | jq -Rsc --arg name "$1" '{
    query: "mutation ($in: LoginInput!) { login(input: $in) { accessToken refreshToken } }",
    variables: {in: {identifier: $name, password: .}}
  }')
  keep "$(send "$body")" login
}

# Exchanges the refresh token. It works once: of several calls that find an expired token at the same time, the first refreshes
# and the others use its result. If the answer is lost, the same token may be sent again for a minute.
# In a subshell, whose end also releases the lock.
refresh() ( # $1: the access token that was rejected
  exec 9>"$session.lock"
  flock 9
  [ "$(jq -r .accessToken "$session")" = "$1" ] || exit 0
  body=$(jq -c '{
    query: "mutation ($in: RefreshInput!) { refresh(input: $in) { accessToken refreshToken } }",
    variables: {in: {refreshToken}}
  }' "$session")
  answer=$(send "$body" || send "$body")
  keep "$answer" refresh || {
    # The session has ended. A lost connection keeps it.
    [ "$(printf %s "$answer" | jq -r '.errors[0].extensions.code')" != UNAUTHENTICATED ] || rm -f "$session"
    exit 1
  }
)

ask() { # $1: an operation
  [ -f "$session" ] || { echo "Sign in first: $0 sign-in NAME" >&2; exit 1; }
  body=$(jq -nc --arg query "$1" '{$query}')
  token=$(jq -r .accessToken "$session")
  answer=$(send "$body" "$token")
  if printf %s "$answer" | jq -e '.errors[0].extensions.code == "UNAUTHENTICATED"' >/dev/null; then
    refresh "$token"
    answer=$(send "$body" "$(jq -r .accessToken "$session")")
  fi
  printf '%s\n' "$answer"
}

sign_out() {
  ask 'mutation { logout(input: {}) { clientMutationId } }' >/dev/null
  rm -f "$session" "$session.lock"
}

case ${1:-} in
  sign-in) sign_in "${2:?Name an account: $0 sign-in NAME}" ;;
  ask) ask "${2:?Give an operation: $0 ask "'{ currentUser { username } }'"}" ;;
  sign-out) sign_out ;;
  *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
