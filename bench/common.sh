# Sourced by the scripts beside it.

# picture SIDE FILE: a BMP of random colours, SIDE x SIDE, SIDE a multiple of 4.
picture() {
    number() { # little-endian, 4 bytes
        for shift in 1 256 65536 16777216; do printf "\\$(printf %03o $(($1 / shift % 256)))"; done
    }
    {
        printf BM
        number $((54 + 3 * $1 * $1))
        number 0
        number 54
        number 40
        number "$1"
        number "$1"
        printf '\001\000\030\000'
        for _ in 1 2 3 4 5 6; do number 0; done
        head -c $((3 * $1 * $1)) /dev/urandom
    } >"$2"
}

seconds() { date +%s.%N; }

# since START: seconds since then.
since() { awk -v now="$(seconds)" -v start="$1" 'BEGIN { printf "%.1f", now - start }'; }

folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
