// Reads zips as a stream, the way that trusts local headers alone; ZipInputStream checks each member's CRC-32.
// Prints a line per archive (its path) and a line per member: a tab, size, CRC-32 and name, parted by tabs.

import java.io.BufferedInputStream;
import java.io.FileInputStream;
import java.io.PrintStream;
import java.util.zip.CRC32;
import java.util.zip.ZipEntry;
import java.util.zip.ZipInputStream;

class Streaming {
    public static void main(String[] paths) throws Exception {
        PrintStream out = new PrintStream(System.out, false, "UTF-8");
        byte[] buffer = new byte[1 << 16];
        for (String path : paths) {
            out.println(path);
            try (var zip = new ZipInputStream(new BufferedInputStream(new FileInputStream(path), 1 << 16))) {
                ZipEntry entry;
                while ((entry = zip.getNextEntry()) != null) {
                    CRC32 crc = new CRC32();
                    long size = 0;
                    for (int n; (n = zip.read(buffer)) > 0; size += n) {
                        crc.update(buffer, 0, n);
                    }
                    zip.closeEntry();
                    out.println("\t" + size + "\t" + crc.getValue() + "\t" + entry.getName());
                }
            }
        }
        out.flush();
    }
}
