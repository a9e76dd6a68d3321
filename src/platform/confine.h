/* SPDX-License-Identifier: Apache-2.0 */
#pragma once

/*
 * Gives up, for good and for all threads to come, what this program never does
 * and a hijacked one would like to: run programs, open sockets other than local
 * ones, change scheduling classes and priorities (which CAP_SYS_NICE would allow),
 * enter namespaces, mount, load code into the kernel. 0, or -errno: the kernel can
 * not do it; -ENOSYS: not known for this kind of machine.
 */
int confine(void);
