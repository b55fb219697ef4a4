# Sourced by the recipes: what every `run.sh` says and keeps.

say() { printf '\n== %s\n' "$*" >&2; }

# Run a command whose result is printed, and keep the result; once it is there, it is done.
keep() {
  local file=$1
  shift
  if [ -s "$file" ]; then
    echo "already done: $file" >&2
  else
    "$@" >"$file.tmp"
    mv "$file.tmp" "$file"
  fi
}
