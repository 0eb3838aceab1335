//! Disks that fill up or fail: a small tmpfs, and an ext4 in a file that can be made to fail. Mounting needs root;
//! what is to be done without is the caller's to say.

use std::{
    fs::File,
    io::Write,
    path::{Path, PathBuf},
    process::Command,
};

use crate::Done;

/// A file system of its own, unmounted when this is dropped.
#[derive(Debug)]
pub struct Disk {
    /// Where it is mounted.
    pub folder: PathBuf,
    /// The file that it is in; none: a tmpfs.
    image: Option<PathBuf>,
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: it may have been unmounted already, or a process of a failed test may still be in it.
        let _ = Command::new("umount").arg("-l").arg(&self.folder).output();
    }
}

impl Disk {
    /// A tmpfs of so many MiB in a new folder of `dir`.
    ///
    /// # Errors
    /// Where it cannot be mounted: root is needed.
    pub fn small(dir: &Path, mib: u32) -> Done<Self> {
        let folder = dir.join("disk");
        std::fs::create_dir_all(&folder)?;
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &format!("size={mib}m"), "tmpfs"]).arg(&folder))?;
        Ok(Self { folder, image: None })
    }

    /// An ext4 of so many MiB in a file of `dir`.
    ///
    /// # Errors
    /// Where it cannot be made or mounted: root and loop devices are needed.
    pub fn ext4(dir: &Path, mib: u32) -> Done<Self> {
        let (folder, image) = (dir.join("disk"), dir.join("disk.img"));
        std::fs::create_dir_all(&folder)?;
        File::create(&image)?.set_len(u64::from(mib) << 20)?;
        run(Command::new("mkfs.ext4").args(["-q", "-F"]).arg(&image))?;
        let disk = Self { folder, image: Some(image) };
        disk.mount(false)?;
        Ok(disk)
    }

    fn mount(&self, read_only: bool) -> Done {
        let image = self.image.as_ref().ok_or("a tmpfs does not outlive its mount")?;
        let options = if read_only { "loop,ro" } else { "loop" };
        run(Command::new("mount").args(["-o", options]).arg(image).arg(&self.folder))
    }

    /// Leaves no byte of room.
    ///
    /// # Errors
    /// Where the ballast cannot be made at all.
    pub fn fill(&self) -> Done {
        let mut ballast = File::options().create(true).append(true).open(self.folder.join("ballast"))?;
        for size in [65536, 4096, 512, 1] {
            while ballast.write_all(&vec![0; size]).is_ok() {}
        }
        Ok(())
    }

    /// Makes room again.
    ///
    /// # Errors
    /// Where it was not full.
    pub fn empty(&self) -> Done {
        Ok(std::fs::remove_file(self.folder.join("ballast"))?)
    }

    /// The disk fails: from now on every read and write of it is refused, until it is mounted again. (By ext4's own ioctl,
    /// which no command but `xfs_io` has. Its other ways, and `mount -o remount,abort`, will not do: of an fsync that was
    /// under way the kernel then sometimes says that it was done, and it was not.)
    ///
    /// # Errors
    /// Where it is no ext4.
    pub fn fail(&self) -> Done {
        let shutdown = "import fcntl, os, struct, sys; \
                        fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), 0x8004587D, struct.pack('I', 0))";
        run(Command::new("python3").args(["-c", shutdown]).arg(&self.folder))
    }

    /// Mounts it anew: what is on the disk, and nothing that only memory knew. Nobody may have it open.
    ///
    /// # Errors
    /// Where somebody has.
    pub fn again(&self, read_only: bool) -> Done {
        run(Command::new("umount").arg(&self.folder))?;
        self.mount(read_only)
    }
}

fn run(command: &mut Command) -> Done {
    let said = command.output()?;
    if said.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&said.stderr).trim()).into())
}
