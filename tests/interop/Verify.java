// Verifies a batch's signature with BouncyCastle and nothing of ours.
// Usage: java -cp … Verify.java SIGNATURE MANIFEST CA. Prints signer, digest and signature algorithm; fails otherwise.

import java.io.FileInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.Security;
import java.security.cert.CertPathBuilder;
import java.security.cert.CertStore;
import java.security.cert.CertificateFactory;
import java.security.cert.CollectionCertStoreParameters;
import java.security.cert.PKIXBuilderParameters;
import java.security.cert.TrustAnchor;
import java.security.cert.X509CertSelector;
import java.security.cert.X509Certificate;
import java.util.ArrayList;
import java.util.Collection;
import java.util.List;
import java.util.Set;
import org.bouncycastle.cert.X509CertificateHolder;
import org.bouncycastle.cert.jcajce.JcaX509CertificateConverter;
import org.bouncycastle.cms.CMSProcessableByteArray;
import org.bouncycastle.cms.CMSSignedData;
import org.bouncycastle.cms.SignerInformation;
import org.bouncycastle.cms.jcajce.JcaSimpleSignerInfoVerifierBuilder;
import org.bouncycastle.jce.provider.BouncyCastleProvider;
import org.bouncycastle.util.Store;

public class Verify {
    public static void main(String[] args) throws Exception {
        Security.addProvider(new BouncyCastleProvider());
        byte[] signature = Files.readAllBytes(Path.of(args[0]));
        byte[] manifest = Files.readAllBytes(Path.of(args[1]));
        CertificateFactory factory = CertificateFactory.getInstance("X.509", "BC");
        X509Certificate root = (X509Certificate) factory.generateCertificate(new FileInputStream(args[2]));

        CMSSignedData data = new CMSSignedData(new CMSProcessableByteArray(manifest), signature);
        Store<X509CertificateHolder> brought = data.getCertificates();
        JcaX509CertificateConverter converter = new JcaX509CertificateConverter().setProvider("BC");
        Collection<SignerInformation> signers = data.getSignerInfos().getSigners();
        if (signers.size() != 1) {
            throw new IllegalStateException("not exactly one signer");
        }
        for (SignerInformation signer : signers) {
            @SuppressWarnings("unchecked")
            Collection<X509CertificateHolder> found = brought.getMatches(signer.getSID());
            X509CertificateHolder holder = found.iterator().next();
            X509Certificate leaf = converter.getCertificate(holder);
            if (!signer.verify(new JcaSimpleSignerInfoVerifierBuilder().setProvider("BC").build(leaf))) {
                throw new IllegalStateException("the signature does not verify");
            }
            List<X509Certificate> all = new ArrayList<>();
            for (X509CertificateHolder one : brought.getMatches(null)) {
                all.add(converter.getCertificate(one));
            }
            X509CertSelector target = new X509CertSelector();
            target.setCertificate(leaf);
            PKIXBuilderParameters path = new PKIXBuilderParameters(Set.of(new TrustAnchor(root, null)), target);
            path.addCertStore(CertStore.getInstance("Collection", new CollectionCertStoreParameters(all), "BC"));
            path.setRevocationEnabled(false);
            CertPathBuilder.getInstance("PKIX", "BC").build(path);
            System.out.println(leaf.getSubjectX500Principal().getName());
            System.out.println(signer.getDigestAlgOID() + " " + signer.getEncryptionAlgOID());
        }
    }
}
