#!/bin/bash
# Keeps true: the process behind this script sees nothing but its node: own root, /proc, /sys, /dev and cgroups.
# In: LAB_ROOTFS, LAB_STATE (a folder on a real file system), LAB_PID (file), all as the host sees them, in new namespaces.
# Out: becomes /lab/init as pid 1. Rule: pivot_root, not chroot, so that `nsenter --mount` lands in the node's root.
set -eu
read -r pid _ </proc/self/stat # /proc is still the host's: this is the node's pid 1 as seen from outside
root=$LAB_STATE/root
mkdir -p "$root" "$LAB_STATE"/{upper,work,docker,containerd,log}
mount -t overlay overlay -o "lowerdir=$LAB_ROOTFS,upperdir=$LAB_STATE/upper,workdir=$LAB_STATE/work" "$root"
cd "$root"
mkdir -p lab var/lib/docker var/lib/containerd var/log/lab .old
# overlay2 does not work on overlayfs: Docker's data must lie on the real file system below.
mount --bind "$LAB_STATE/docker" var/lib/docker
mount --bind "$LAB_STATE/containerd" var/lib/containerd
mount --bind "$LAB_STATE/log" var/log/lab
mount --bind "$LAB_STATE/lab" lab
if [ -n "${LAB_PLUGINS:-}" ]; then
  mkdir -p "$LAB_STATE/plugins/upper" "$LAB_STATE/plugins/work" var/lib/docker/plugins
  # redirect_dir: the engine renames folders of the layer below when it removes or upgrades a plugin.
  mount -t overlay overlay -o "redirect_dir=on,lowerdir=$LAB_PLUGINS,upperdir=$LAB_STATE/plugins/upper,workdir=$LAB_STATE/plugins/work" var/lib/docker/plugins
fi

controllers=$(while read -r _ folder type options _; do
  [ "$type" != cgroup ] || echo "${folder##*/} $options"
done </proc/mounts | grep -v '^openrc' | sort -u)
mount -t proc proc proc
mount -t sysfs sysfs sys
if [ -n "$controllers" ]; then
  mount -t tmpfs -o mode=755 tmpfs sys/fs/cgroup
  while read -r folder options; do
    names=$(echo "$options" | tr , '\n' | grep -vxE 'rw|ro|nosuid|nodev|noexec|relatime|xattr|clone_children|release_agent=.*' | paste -sd,)
    case $names in name=*) names=none,$names ;; esac
    mkdir -p "sys/fs/cgroup/$folder"
    mount -t cgroup -o "$names" cgroup "sys/fs/cgroup/$folder"
  done <<<"$controllers"
else
  mount -t cgroup2 cgroup2 sys/fs/cgroup
fi

mount -t tmpfs -o mode=755 tmpfs dev
mkdir dev/net dev/pts dev/shm
mknod -m 666 dev/null c 1 3
mknod -m 666 dev/zero c 1 5
mknod -m 666 dev/full c 1 7
mknod -m 666 dev/random c 1 8
mknod -m 666 dev/urandom c 1 9
mknod -m 666 dev/tty c 5 0
mknod -m 666 dev/net/tun c 10 200
mknod -m 666 dev/fuse c 10 229
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
mount -t tmpfs -o mode=1777 tmpfs dev/shm
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
ln -s /proc/self/fd/0 dev/stdin
ln -s /proc/self/fd/1 dev/stdout
ln -s /proc/self/fd/2 dev/stderr

echo "$pid" >"$LAB_PID.new"
mv "$LAB_PID.new" "$LAB_PID"
pivot_root . .old
umount -l /.old
exec /lab/init
