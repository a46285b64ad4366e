#!/usr/bin/env bash
# Watches the presence of people through UCWA, following links only.
#
#     UCWA_PASSWORD=… ./watch.sh https://lyncdiscover.contoso.com/ ana@contoso.com bo@contoso.com
#
# Needs bash 4.4, curl and jq. Ends on Ctrl-C.
set -euo pipefail

if (($# < 3)); then
  echo "usage: UCWA_PASSWORD=… $0 URL USER ADDRESS…" >&2
  exit 2
fi
root=$1 user=$2
shift 2
addresses=("$@")

duration=30  # minutes: the longest a presence subscription may last
patience=300 # seconds: a P-GET is held for 180
origin='' token='' application='' subscriptions=''
declare -A known
work=$(mktemp -d)

# href REL prints a link of the last answer.
href() { jq -r --arg rel "$1" '._links[$rel].href // empty' "$work/body"; }

# send METHOD HREF [curl options] leaves the answer in $status, $work/head and
# $work/body, and waits out what is temporary. The token reaches curl through a
# pipe: a list of processes would show an argument.
send() {
  local method=$1 url=$2 wait
  shift 2
  if [[ $url == /* ]]; then url=$origin$url; fi
  while true; do
    rm -f "$work/head" "$work/body"
    status=$(curl --silent --show-error --max-time "$patience" --config <(printf '%s' "${token:+header = \"Authorization: $token\"}") \
      --header 'Accept: application/json' --request "$method" "$@" \
      --dump-header "$work/head" --output "$work/body" --write-out '%{http_code}' "$url") || status=000
    case $status in
      000 | 429 | 502 | 503 | 504) ;;
      *) return 0 ;;
    esac
    wait=$(sed -n 's/^Retry-After: *\([0-9]*\).*/\1/ip' "$work/head" 2>/dev/null || true)
    echo "$status, again in ${wait:-5} s" >&2
    sleep "${wait:-5}"
  done
}

# call is send for what must succeed: it fails with what ends the application.
call() {
  send "$@"
  case $status in
    2*) return 0 ;;
    401 | 404 | 410) return 1 ;;
  esac
  echo "$1 $2: $status $(head -c 300 "$work/body")" >&2
  exit 1
}

post() { call POST "$1" --header 'Content-Type: application/json' --data "$2"; }

# sign_in goes from discovery to a token, and leaves the link $applications.
sign_in() {
  local link service
  token=''
  call GET "$root" || return 1
  link=$(href user)
  send GET "$link" # 401: it says where the token service is
  service=$(sed -n 's/.*MsRtcOAuth href="\([^"]*\)".*/\1/p' "$work/head" | head -n 1)
  send POST "$service" --data grant_type=password --data-urlencode "username=$user" \
    --data-urlencode password@<(printf '%s' "$UCWA_PASSWORD")
  if [[ $status != 200 ]]; then
    echo "sign-in was refused: $status" >&2
    exit 1
  fi
  token=$(jq -r '"\(.token_type) \(.access_token)"' "$work/body")
  call GET "$link" || return 1
  applications=$(href applications)
  origin=$(grep -o '^https\?://[^/]*' <<<"$applications") # what hrefs are relative to
}

subscribe() {
  post "$subscriptions" "$(jq -nc --argjson duration "$duration" '{$duration, uris: [$ARGS.positional[] | "sip:" + .]}' --args "${addresses[@]}")"
}

# show CONTACT PRESENCE prints a presence, if it has changed.
show() {
  local who now
  call GET "$1" || return 0 # if it is the application, the next P-GET tells
  who=$(jq -r '.uri | ltrimstr("sip:")' "$work/body")
  call GET "$2" || return 0
  now=$(jq -r '[.availability, .activity | values] | join(" ")' "$work/body")
  if [[ ${known[$who]-} != "$now" ]]; then
    known[$who]=$now
    echo "$who $now"
  fi
}

# watch follows the event channel until the application ends.
watch() {
  local next anew what link in events
  sign_in || return 0
  post "$applications" "{\"userAgent\":\"watch.sh\",\"endpointId\":\"$$\",\"culture\":\"en-US\"}" || return 0
  application=$(href self) next=$(href events)
  subscriptions=$(jq -r '._embedded.people._links.presenceSubscriptions.href' "$work/body")
  subscribe || return 0
  while call GET "$next"; do # held until there are events
    anew=$(jq -r '._links | (.resync // .resume // {}).href // empty' "$work/body")
    next=${anew:-$(href next)}
    events=$(jq -r '.sender[]?.events[] | [.link.rel + " " + .type, .link.href, .in.href // "-"] | @tsv' "$work/body")
    while IFS=$'\t' read -r what link in; do
      case $what in
        'contactPresence updated') show "$in" "$link" ;;
        'presenceSubscription updated') post "$link?duration=$duration" '' || return 0 ;; # about to expire
        'presenceSubscription deleted') subscribe || return 0 ;;
      esac
    done <<<"$events"
    if [[ -n $anew ]]; then # events or subscriptions were lost
      echo 'subscribing anew' >&2
      subscribe || return 0
    fi
  done
}

finish() {
  if [[ -n $application ]]; then send DELETE "$application" || true; fi
  rm -rf "$work"
}
trap finish EXIT
trap 'exit 0' INT TERM

while true; do
  watch
  echo "beginning anew: $status" >&2
  sleep 1
done
