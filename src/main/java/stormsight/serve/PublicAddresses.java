package stormsight.serve;

import java.net.Inet4Address;
import java.net.InetAddress;

/**
 * Which addresses lie in the public internet, and not on this machine or in a network around it.
 *
 * @see <a href="https://www.iana.org/assignments/iana-ipv4-special-registry">IANA's special addresses, IPv4</a>
 * @see <a href="https://www.iana.org/assignments/iana-ipv6-special-registry">and IPv6</a>
 */
final class PublicAddresses {
    private PublicAddresses() {}

    static boolean contain(InetAddress address) {
        if (address.isAnyLocalAddress() || address.isLoopbackAddress() || address.isLinkLocalAddress()
                || address.isSiteLocalAddress() || address.isMulticastAddress()) {
            return false;
        }
        byte[] bytes = address.getAddress();
        int first = bytes[0] & 0xff;
        int second = bytes[1] & 0xff;
        int third = bytes[2] & 0xff;
        if (address instanceof Inet4Address) {
            return first != 0                                     // this network
                    && !(first == 100 && second >= 64 && second < 128) // behind a carrier's NAT
                    && !(first == 192 && second == 0 && (third == 0 || third == 2)) // protocols, documentation
                    && !(first == 192 && second == 88 && third == 99) // relays of 6to4
                    && !(first == 198 && (second == 18 || second == 19)) // benchmarks
                    && !(first == 198 && second == 51 && third == 100) // documentation
                    && !(first == 203 && second == 0 && third == 113) // documentation
                    && first < 240;                               // reserved, broadcast
        }
        // 2000::/3 without what holds an IPv4 address (Teredo, 6to4) and what is special otherwise.
        int start = first << 8 | second;
        return first >> 5 == 1
                && !(start == 0x2001 && third < 2)                // Teredo, protocols
                && !(start == 0x2001 && third == 0x0d && (bytes[3] & 0xff) == 0xb8) // documentation
                && start != 0x2002                                // 6to4
                && !(start == 0x3fff && third < 0x10);            // documentation
    }
}
