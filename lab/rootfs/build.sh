#!/bin/sh
# Keeps true: DEST/rootfs is a complete Debian root of SUITE with Docker and the lab's tools, DEST/packages lists what is in it.
# In: SUITE MIRROR KEYRING DEST ARCHIVES PACKAGE…   Out: DEST, exit 0, or exit 1 with apt's own words on stderr.
# Rule: runs in its own mount and pid namespace, so nothing stays mounted or running when it is killed.
set -eu
suite=$1 mirror=$2 keyring=$3 dest=$4 archives=$5
shift 5
if [ -z "${LAB_UNSHARED:-}" ]; then
  LAB_UNSHARED=1 exec unshare --mount --propagation private --pid --fork --kill-child \
    sh "$0" "$suite" "$mirror" "$keyring" "$dest" "$archives" "$@"
fi
root=$dest/rootfs
mkdir -p "$root" "$archives/partial"
export DEBIAN_FRONTEND=noninteractive LC_ALL=C
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[ -z "${http_proxy:-}" ] || export http_proxy
[ -z "${https_proxy:-}" ] || export https_proxy

debootstrap --variant=minbase --components=main --keyring="$keyring" --cache-dir="$archives" "$suite" "$root" "$mirror"

printf '#!/bin/sh\nexit 101\n' >"$root/usr/sbin/policy-rc.d"
chmod 755 "$root/usr/sbin/policy-rc.d"
cat >"$root/etc/dpkg/dpkg.cfg.d/lab" <<'CFG'
force-unsafe-io
path-exclude=/usr/share/doc/*
path-exclude=/usr/share/man/*
path-exclude=/usr/share/locale/*
CFG
# A mirror of sid may lag behind the date its Release file is valid for.
cat >"$root/etc/apt/apt.conf.d/99lab" <<'CFG'
Acquire::Check-Valid-Until "false";
Acquire::Retries "5";
Binary::apt-get::APT::Keep-Downloaded-Packages "true";
CFG
mount --bind "$archives" "$root/var/cache/apt/archives"
mount -t proc proc "$root/proc"
mount --rbind /sys "$root/sys"
mount --rbind /dev "$root/dev"
cp --remove-destination /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get -q -y --no-install-recommends install "$@"
umount "$root/var/cache/apt/archives"

# A closed local port: an image pull by a swarm agent must fail at once, not time out.
rm -f "$root/etc/resolv.conf"
echo 'nameserver 127.0.0.1' >"$root/etc/resolv.conf"
: >"$root/etc/machine-id"
rm -rf "$root"/var/lib/apt/lists/* "$root"/var/cache/apt/* "$root"/var/cache/debconf/*-old "$root"/var/log/*.log
rm -rf "$root"/usr/share/doc/* "$root"/usr/share/man/* "$root"/usr/share/locale/*
mkdir -p "$root/lab" "$root/.old"
chroot "$root" dpkg-query -W -f '${Package} ${Version}\n' >"$dest/packages"
