"""A disk that keeps a log of every write and flush that reached it, and disks rebuilt from the log.

    with LoggedDisk("ext4") as disk:
        ... disk.mountpoint ...
        entries_in(disk.log)           # how many entries there are so far
        disk.finish()                  # unmounted; the log is complete
        log = WriteLog(disk)
        log.rebuild(path, 500)         # the disk as it was after 500 entries

What is between the loop device and the image is qemu-storage-daemon: a FUSE export of a file whose
writes blklogwrites keeps, in the format of the kernel's dm-log-writes: a super block with the
number of entries; then each entry, one sector that says where and how many sectors, and then these
sectors (a discard has none).

A flush makes everything before it durable.  What was written since may be there or not, each write
for itself, or each piece of it where writes are torn.
"""
import collections
import os
import struct
import subprocess
import time

from disk import Disk, DiskError, detach, sh, why_not

PROGRAMS = ("qemu-storage-daemon", "fusermount3")
MAGIC = 0x6a736677736872
SECTOR = 512
SUPER = struct.Struct("<QQQI")  # magic, version, entries, bytes of a sector
HEAD = struct.Struct("<QQQQ")   # first sector, sectors, flags, bytes of a mark
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8

Entry = collections.namedtuple("Entry", "sector sectors flags at")


def why_no_log(kind):
    """Why disks of this kind cannot be logged here; "" if they can."""
    why = why_not(kind, programs=PROGRAMS)
    if why:
        return why
    if not os.path.exists("/dev/fuse"):
        return "there is no /dev/fuse here"
    try:
        with LoggedDisk(kind, size="320M"):
            return ""
    except DiskError as error:
        return "no logged disk: %s" % error


def entries_in(path):
    """The super block is written with each entry, before the write or flush is answered."""
    with open(path, "rb", buffering=0) as file:
        magic, _, count, size = SUPER.unpack(file.read(SUPER.size))
    if (magic, size) != (MAGIC, SECTOR):
        raise DiskError("%s is not a log of writes" % path)
    return count


class LoggedDisk(Disk):
    daemon = None

    def attach(self):
        self.log = os.path.join(self.folder, "log")
        self.export = os.path.join(self.folder, "export")
        for path in (self.log, self.export):
            with open(path, "wb"):
                pass
        sh("truncate", "-s", "20G", self.log)
        # The daemon need not sync: it is not cut itself.
        node = "driver=file,node-name=%s,filename=%s,cache.no-flush=on"
        with open(os.path.join(self.folder, "errors"), "wb") as errors:
            self.daemon = subprocess.Popen(
                ["qemu-storage-daemon", "--blockdev", node % ("image", self.image),
                 "--blockdev", node % ("log", self.log),
                 "--blockdev", "driver=blklogwrites,node-name=logged,file=image,log=log,"
                 "log-sector-size=%d,log-super-update-interval=1" % SECTOR,
                 "--export", "type=fuse,id=export,node-name=logged,mountpoint=%s,writable=on"
                 % self.export],
                stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=errors,
                start_new_session=True)
        until = time.monotonic() + 20
        while os.path.getsize(self.export) == 0:
            if self.daemon.poll() is not None or time.monotonic() > until:
                with open(os.path.join(self.folder, "errors"), encoding="utf-8") as errors:
                    raise DiskError("qemu-storage-daemon: " + errors.read().strip())
            time.sleep(0.02)
        return sh("losetup", "-f", "--show", self.export)

    def finish(self):
        """Unmounted and detached, the daemon ended; image and log stay until the disk is closed."""
        self.unmount()
        if self.device:
            detach(self.device)
            self.device = None
        if self.daemon:
            self.daemon.terminate()
            try:
                self.daemon.wait(timeout=20)
            except subprocess.TimeoutExpired:
                self.daemon.kill()
                self.daemon.wait()
            self.daemon = None
            sh("umount", "-l", self.export, check=False)  # if the daemon could not

    def close(self):
        self.finish()
        super().close()


class Copy(Disk):
    """The file system on an image that there is already, as after a boot."""

    def __init__(self, image):
        self.options = ""
        self.image, self.mountpoint = image, image + ".mnt"
        self.device, self.mounted = None, False
        try:
            os.mkdir(self.mountpoint)
            self.device = self.attach()
            self.mount()
        except BaseException:
            self.close()
            raise

    def close(self):
        self.unmount()
        if self.device:
            detach(self.device)
        os.rmdir(self.mountpoint)
        os.unlink(self.image)


class WriteLog:
    """Rebuilds go forward: a later one begins no earlier in the log than the one before."""

    def __init__(self, disk):
        self.path, self.image = disk.log, disk.image
        self.file = os.open(disk.log, os.O_RDONLY)
        self.entries = list(self.read())
        self.durable, self.unflushed = [0], [0]  # by the number of entries
        for number, entry in enumerate(self.entries):
            flushes = entry.flags & FLUSH
            self.durable.append(number if flushes else self.durable[-1])
            self.unflushed.append((0 if flushes else self.unflushed[-1]) + self.may_vanish(entry))
        self.base, self.in_base = os.path.join(disk.folder, "base"), 0
        sh("truncate", "-s", str(os.path.getsize(disk.image)), self.base)

    def read(self):
        at = SECTOR
        for _ in range(entries_in(self.path)):
            sector, sectors, flags, _ = HEAD.unpack(os.pread(self.file, HEAD.size, at))
            at += SECTOR
            yield Entry(sector, sectors, flags, at)
            if not flags & DISCARD:
                at += sectors * SECTOR

    @staticmethod
    def may_vanish(entry):
        """Sectors of an entry that are durable only after a later flush."""
        return 0 if entry.flags & (FUA | MARK) else entry.sectors

    def pieces(self, entry, size):
        """(offset on the disk, bytes), whole if `size` is 0."""
        whole = entry.sectors * SECTOR
        for begin in range(0, whole, size or whole or 1):
            length = min(size or whole, whole - begin)
            yield (entry.sector * SECTOR + begin,
                   bytes(length) if entry.flags & DISCARD
                   else os.pread(self.file, length, entry.at + begin))

    def rebuild(self, path, count, rng=None, keep=1.0, torn=0):
        """The disk after `count` entries.  With `rng` each write since the last flush, or each
        `torn` bytes of it, is there with probability `keep`; yields how many were not."""
        durable, dropped = self.durable[count], 0
        with open(self.base, "r+b", buffering=0) as out:
            for entry in self.entries[self.in_base:durable]:
                for offset, data in self.pieces(entry, 0):
                    os.pwrite(out.fileno(), data, offset)
        self.in_base = durable
        sh("cp", "--sparse=auto", self.base, path)
        with open(path, "r+b", buffering=0) as out:
            for entry in self.entries[durable:count]:
                for offset, data in self.pieces(entry, torn):
                    if rng and self.may_vanish(entry) and rng.random() >= keep:
                        dropped += 1
                    else:
                        os.pwrite(out.fileno(), data, offset)
        return dropped

    def is_whole(self, path):
        """Is the disk rebuilt from all entries, byte for byte, the one that was logged?"""
        self.rebuild(path, len(self.entries))
        same = subprocess.run(["cmp", "-s", path, self.image], check=False).returncode == 0
        os.unlink(path)
        return same

    def close(self):
        os.close(self.file)
