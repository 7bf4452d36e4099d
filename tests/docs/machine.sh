# A machine of its own for the session of a page: the system's files under an overlay, empty
# folders for what a host collects, processes, network and name apart. Run by `unshare` as its
# first process; whatever it does is gone with it.
#
# machine.sh SCRATCH PROJECT LOGWEIR SYSLOG_NG SCRIPT
set -eu
scratch=$1 project=$2 logweir=$3 syslog_ng=$4 script=$5

mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/up" "$scratch/work" "$scratch/root"
root=$scratch/root
mount -t overlay overlay \
    -o "lowerdir=/,upperdir=$scratch/up,workdir=$scratch/work" "$root"
for folder in dev dev/shm tmp run srv var/log var/spool; do
    mkdir -p "$root/$folder"
    mount -t tmpfs tmpfs "$root/$folder"
done
chmod 1777 "$root/tmp"
mkdir "$root/var/spool/rsyslog"
for device in null zero full random urandom tty; do
    touch "$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
ln -s /proc/self/fd "$root/dev/fd"
mount -t proc proc "$root/proc"
ip link set lo up
hostname web1
printf '127.0.0.1 localhost web1 hub hub1 hub2\n127.0.0.1 %s\n' \
    'hub.example.org hub1.example.org hub2.example.org' >"$root/etc/hosts"

# What the package installs.
touch "$root/usr/bin/logweir"
mount --bind "$logweir" "$root/usr/bin/logweir"
mkdir -p "$root/usr/lib/logweir/filters" "$root/etc/logweir" "$root/usr/lib/systemd/system"
cp "$project"/filters/*.sh "$project"/filters/*.awk "$root/usr/lib/logweir/filters"
chmod 755 "$root"/usr/lib/logweir/filters/*.sh
cp "$project/packaging/logweir.toml" "$root/etc/logweir"
cp "$project"/packaging/systemd/logweir.* "$root/usr/lib/systemd/system"
grep -q '^logweir:' "$root/etc/passwd" || {
    echo 'logweir:x:990:990:logweir log daemon:/var/lib/logweir:/usr/sbin/nologin' >>"$root/etc/passwd"
    echo 'logweir:x:990:' >>"$root/etc/group"
}
for folder in var/log var/spool var/lib run; do
    install -d -m 750 "$root/$folder/logweir"
    chroot "$root" chown logweir:logweir "/$folder/logweir"
done
if [ -n "$syslog_ng" ]; then
    mkdir -p "$root$syslog_ng"
    mount --bind "$syslog_ng" "$root$syslog_ng"
fi
cp "$script" "$root/tmp/session"

printf '\002ready\003\n'
exec chroot "$root" /usr/bin/env -i HOME=/root LANG=C.UTF-8 TZ=UTC TERM=dumb \
    PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
    /bin/bash /tmp/session </dev/null 2>&1
