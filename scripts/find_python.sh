# Sourced by the scripts beside it: find_python prints a Python 3.10 to 3.13 that can make a venv.

find_python() {
  local candidates=(python3 python3.13 python3.12 python3.11 python3.10)
  if [[ -n "${PYTHON:-}" ]]; then
    candidates=("$PYTHON")
  fi
  local check='import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < (3, 14))'
  local candidate
  for candidate in "${candidates[@]}"; do
    # Version managers put names on the PATH that run nothing, so each one is tried.
    if "$candidate" -c "$check" >/dev/null 2>&1; then
      command -v "$candidate"
      return
    fi
  done
  echo "Python 3.10, 3.11, 3.12 or 3.13 with its venv module is needed (tried: ${candidates[*]});" \
    "install one, or name it: PYTHON=/path/to/python3 $0" >&2
  return 2
}
