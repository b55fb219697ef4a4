# Functions of every `run.sh`, which sources this file.

say() { printf '\n== %s\n' "$*" >&2; }

# Run a command and store what it prints in a file; skip it if the file exists.
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
