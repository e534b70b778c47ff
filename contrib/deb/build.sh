#!/usr/bin/env bash
# Packs the two programs as Debian packages, mixminion and mixminiond.
#
# usage: contrib/deb/build.sh DIRECTORY [PROGRAMS]
#
# The packages go to DIRECTORY. PROGRAMS is a directory with the programs, already built; without it they are built here. VERSION in the
# environment replaces the version of the programs, SOURCE_DATE_EPOCH the time of the last commit. The same sources give the same bytes.
set -euo pipefail
umask 022
export LC_ALL=C
out=$(mkdir -p "$1" && cd "$1" && pwd)
programs=${2:+$(cd "$2" && pwd)}
cd "$(dirname "$0")/../.."

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

if [ -z "$programs" ]; then
	programs=$scratch/bin
	CGO_ENABLED=0 go build -trimpath -buildvcs=false -ldflags='-s -w' -o "$programs/" ./cmd/mixminion ./cmd/mixminiond
fi
version=${VERSION:-$("$programs/mixminion" version | sed -n '1s/.* //p')}
epoch=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || echo 0)}
export SOURCE_DATE_EPOCH="$epoch"
case $(go env GOARCH) in
386) arch=i386 ;;
arm) arch=armhf ;;
ppc64le) arch=ppc64el ;;
*) arch=$(go env GOARCH) ;;
esac

# licences prints the licence of each module that is part of the programs: most ask that it goes where the binary goes.
licences() {
	go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/mixminion ./cmd/mixminiond |
		sort -u | while read -r path version dir; do
		printf '\n---\n\n%s %s\n' "$path" "$version"
		found=
		for file in "$dir"/LICENSE* "$dir"/LICENCE* "$dir"/COPYING* "$dir"/NOTICE*; do
			[ -f "$file" ] || continue
			found=yes
			printf '\n' && cat "$file"
		done
		[ -n "$found" ] || { echo "no licence in $dir" >&2 && exit 1; }
	done
	printf '\n---\n\nGo\n\n' && cat "$(go env GOROOT)/LICENSE"
}
{ cat LICENSE && printf '\nThe programs contain these works of others:\n' && licences; } >"$scratch/copyright"

# put MODE FROM TO
put() { install -D -m "$1" "$2" "$root/$3"; }

# common NAME: what each package holds.
common() {
	root=$scratch/$1
	put 755 "$programs/$1" "usr/bin/$1"
	put 644 "$scratch/copyright" "usr/share/doc/$1/copyright"
	put 644 CHANGELOG.md "usr/share/doc/$1/CHANGELOG.md"
	for page in docs/man/"$1".1 docs/man/"$1"-*.1; do put 644 "$page" "usr/share/man/man1/$(basename "$page")"; done
	put 644 /dev/null "usr/share/bash-completion/completions/$1"
	put 644 /dev/null "usr/share/zsh/vendor-completions/_$1"
	put 644 /dev/null "usr/share/fish/vendor_completions.d/$1.fish"
	"$programs/$1" completion bash >"$root/usr/share/bash-completion/completions/$1"
	"$programs/$1" completion zsh >"$root/usr/share/zsh/vendor-completions/_$1"
	"$programs/$1" completion fish >"$root/usr/share/fish/vendor_completions.d/$1.fish"
}

# finish NAME
finish() {
	gzip -9n "$root"/usr/share/man/man1/*.1 "$root/usr/share/doc/$1/"*.md
	mkdir "$root/DEBIAN"
	(cd "$root" && find usr -type f -print0 | sort -z | xargs -0 md5sum) >"$root/DEBIAN/md5sums"
	size=$(du -sk --apparent-size "$root/usr" | cut -f1)
	sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" "contrib/deb/$1.control" >"$root/DEBIAN/control"
	for script in postinst prerm postrm; do
		[ ! -f "contrib/deb/$1.$script" ] || put 755 "contrib/deb/$1.$script" "DEBIAN/$script"
	done
	dpkg-deb --root-owner-group --build "$root" "$out/${1}_${version}_$arch.deb" >&2
	echo "$out/${1}_${version}_$arch.deb"
}

# unit FROM TO: without the introduction, which is for those who copy the file by hand, and with the place of the program in a package.
unit() {
	put 644 /dev/null "$2"
	sed -e '1,/^\[Unit\]/{/^\[Unit\]/!d}' -e 's,/usr/local/bin/,/usr/bin/,' -e 's,%h/.local/bin/,/usr/bin/,' "$1" >"$root/$2"
}

common mixminion
unit contrib/systemd/mixminion-agent.service usr/lib/systemd/user/mixminion-agent.service
put 644 docs/user-guide.md usr/share/doc/mixminion/user-guide.md
finish mixminion

common mixminiond
unit contrib/systemd/mixminiond.service usr/lib/systemd/system/mixminiond.service
put 644 contrib/systemd/sysusers.conf usr/lib/sysusers.d/mixminiond.conf
put 644 contrib/systemd/tmpfiles.conf usr/lib/tmpfiles.d/mixminiond.conf
put 644 docs/operator-guide.md usr/share/doc/mixminiond/operator-guide.md
finish mixminiond
