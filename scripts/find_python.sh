# Sourced by the scripts beside it: find_python prints a Python 3.10 or newer that can make a venv.
# One from 3.10 to 3.13 is preferred: for a newer one, a dependency may have no wheel yet.

find_python() {
  local candidates=(python3 python3.{13..10} python3.{14..19})
  if [[ -n "${PYTHON:-}" ]]; then
    candidates=("$PYTHON")
  fi
  local end candidate check
  for end in "(3, 14)" "(4,)"; do
    check="import ensurepip, sys, venv; sys.exit(not (3, 10) <= sys.version_info < $end)"
    for candidate in "${candidates[@]}"; do
      # Version managers put names on the PATH that run nothing, so each one is tried.
      if "$candidate" -c "$check" >/dev/null 2>&1; then
        command -v "$candidate"
        return
      fi
    done
  done
  echo "Python 3.10 or newer with its venv module is needed (tried: ${candidates[*]});" \
    "install one, or name it: PYTHON=/path/to/python3 $0" >&2
  return 2
}
