#!/usr/bin/env bash
# gate.sh MODEL REQUEST [FILE...]: FILEs are those beside the model that hold its weights. Exit status 0 pass, 1 fail, 2 inconclusive, 3 error. Needs curl, jq, LIPSERVE_URL, and LIPSERVE_KEY where there are keys.
set -euo pipefail
answer=$(mktemp)
trap 'rm -f "$answer"' EXIT
call() {  # one request; why the service refuses it goes to standard error
  curl --silent --show-error --fail-with-body --header "Authorization: Bearer ${LIPSERVE_KEY:-none}" --output "$answer" "$@" && return
  jq --raw-output '.detail' "$answer" >&2 || true
  exit 3
}
tell() { jq --exit-status --raw-output "$@" "$answer" || { echo "That is no answer to this question." >&2; exit 3; }; }
parts=()
for file in "$1" "${@:3}"; do
  [ -r "$file" ] || { echo "There is no file $file." >&2; exit 3; }
  parts+=(--form "file=@$file")
done
model=$(sha256sum < "$1")
if [ $# -gt 2 ]; then  # several files are named by what sha256sum says of them
  model=$(for file in "$1" "${@:3}"; do sum=$(sha256sum < "$file"); echo "${sum%% *}  ${file##*/}"; done | LC_ALL=C sort | sha256sum)
fi
call "${parts[@]}" --form "request=$2" "${LIPSERVE_URL:-}/v1/analyze"
job=$(tell .id) over=no
while [ "$over" = no ]; do
  call "$LIPSERVE_URL/v1/jobs/$job?wait=60"
  over=$(tell --arg job "$job" --arg model "${model%% *}" 'select(.id == $job and .model == $model) | .finished_at // "no"')
done
tell '{id, model, status, verdict: .result.verdict, upper: .result.upper, lower: .result.lower, error}'
case $(tell '.result.verdict // "none"') in pass) exit 0 ;; fail) exit 1 ;; inconclusive) exit 2 ;; *) exit 3 ;; esac
